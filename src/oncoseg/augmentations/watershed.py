"""An image redrawn as the basins of a watershed: each as bright as it is on average."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from oncoseg.case import Array, Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Augmentation

CARD = Card(
    "A Pressure Ulcer Care System For Remote Medical Assistance: Residual U-Net with an Attention "
    "Model Based for Wound Area Segmentation",
    2021,
    arxiv="2101.09433",
    reading="The paper names a watershed and no more: random markers, that basins become their "
    "means, how much of them is shown and that labels stay are our reading; 3-D is ours.",
)
LEVELS = 255  # of brightness, between which steps are measured


class Watershed(Augmentation):
    """With probability `probability` an item becomes a mixture of itself and of its basins.

    Water rises from random markers, one to `basin` voxels: a voxel belongs to that to which the
    largest step of brightness (of the mean modality) on the way is the least. A basin takes the
    mean of every modality, and a random share of up to `share` of what is seen is basins. Labels,
    weights and what is not present stay as they are.
    """

    def __init__(
        self, task: Task, *, probability: float = 0.25, basin: int = 64, share: float = 1.0
    ) -> None:
        if basin < 2 or not 0 < share <= 1:
            raise BadOption(
                f"Watershed takes basins of at least 2 voxels and a share above 0 and up to 1, not "
                f"{basin} and {share}"
            )
        self.task, self.probability, self.basin, self.share = task, probability, basin, share

    def __call__(self, batch: Batch) -> Batch:
        """Images are redrawn, nothing else."""
        image = batch.image.clone()
        for item in range(len(batch)):
            if torch.rand(()) >= self.probability:
                continue
            share = self.share * float(torch.rand(()))
            flat = self.redrawn(batch.image[item])
            image[item] += share * (flat - image[item])
        return batch.but(image=torch.where(batch.present, image, 0).to(batch.image.dtype))

    def redrawn(self, image: Tensor) -> Tensor:
        """(M, *S) -> the same, every basin its mean."""
        values = image.detach().cpu().float().numpy()
        basins = self.basins(values.mean(axis=0))
        places = np.arange(basins.max() + 1)
        means = np.stack([ndimage.mean(channel, basins, places) for channel in values])
        return torch.from_numpy(means[:, basins]).to(image)

    def basins(self, values: Array) -> Array:
        """(*S) -> the number of the basin of each voxel, from 0."""
        low, high = float(values.min()), float(values.max())
        levels = (LEVELS * (values - low) / max(high - low, 1e-6)).astype(np.uint8)
        count = max(2, values.size // self.basin)
        chosen = torch.randperm(values.size)[:count].numpy()
        markers = np.zeros(values.size, np.int32)
        markers[chosen] = np.arange(1, count + 1)
        found: Array = ndimage.watershed_ift(levels, markers.reshape(values.shape))
        return found - 1
