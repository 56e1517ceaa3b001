"""Keep the largest connected piece of each region, and say what was removed."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from oncoseg.blocks.relabel import outer_first, without
from oncoseg.case import Array, Prediction
from oncoseg.parts import Posthoc
from oncoseg.registry import Card

CARD = Card(
    "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    2021,
    doi="10.1038/s41592-020-01008-z",
    reading="There it is used where it helps in cross-validation; here, where it is asked for.",
)


class LargestComponent(Posthoc):
    """Voxels apart from their region's largest piece lose that region, and all inside it.

    They keep the regions around it: an island of the core becomes what else the tumour is made of.
    `region` names the one that is cleaned, all if empty. With `corners`, voxels that touch at an
    edge or corner are connected (26 neighbours, 8 in 2-D), else those that share a face (6, 4).
    Probabilities stay what the model gave.
    """

    changes = ("label",)

    def __init__(self, *, region: str = "", corners: bool = True) -> None:
        super().__init__()
        self.region, self.corners = region, corners

    def __call__(self, prediction: Prediction) -> Prediction:
        """Labels without the smaller pieces; a note counts what was removed.

        Raises `UnknownName` for a region that the task has not.
        """
        task, before = prediction.task, prediction.masks
        label = prediction.label.copy()
        for name in outer_first(task, self.region):
            mask = task.masks(label)[name]
            apart = mask & ~self._largest(mask)
            label[apart] = without(task, name)[label[apart]]
        after = task.masks(label)
        lost = {name: int(mask.sum() - after[name].sum()) for name, mask in before.items()}
        notes = [
            f"Voxels of {name} removed, apart from its largest piece: {count}."
            for name, count in lost.items()
            if count > 0
        ]
        return prediction.but(label=label, notes=(*prediction.notes, *notes))

    def _largest(self, mask: Array) -> Array:
        structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if self.corners else 1)
        pieces, count = ndimage.label(mask, structure)
        if count < 2:
            return mask
        return np.asarray(pieces == 1 + np.bincount(pieces.ravel())[1:].argmax())
