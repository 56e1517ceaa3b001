"""FreeTumor: implant synthetic tumours that a frozen segmenter recognises."""

from __future__ import annotations

import torch
from torch import Tensor

from oncoseg.blocks.implants import Lesions, detected, differences, draw, painted
from oncoseg.case import Batch, Task
from oncoseg.errors import BadRun
from oncoseg.registry import Card
from oncoseg.trainable import Augmentation, Network

CARD = Card(
    "FreeTumor: Advance Tumor Segmentation via Large-Scale Tumor Synthesis",
    2024,
    arxiv="2406.01264",
    reading="Our reading: scans with a real tumour get implants too, beside it; the published "
    "training gives them only to scans without.",
)


class Freetumor(Augmentation):
    """With probability `probability` a labelled item gets one tumour, where no real lesion is.

    `model` is what the method of this name trained; without, the difference is one number drawn
    from 0.2 to 0.7 for each item, the paper's baseline. With a segmenter in `judge`, an item of
    which it does not find more than `passing` of the implant's voxels stays as it was; without, all
    are taken. `lesions`, `organs`, `radii` (mm) and `contrast` are the method's.
    """

    models = ("model", "judge")

    def __init__(
        self,
        task: Task,
        *,
        model: str = "",
        judge: str = "",
        probability: float = 0.5,
        passing: float = 0.7,
        lesions: str = "",
        organs: str = "",
        radii: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0),
        contrast: float = 3.0,
    ) -> None:
        self.task, self.lesions = task, Lesions.of(task, lesions, organs)
        self.model, self.judge, self.probability, self.passing = model, judge, probability, passing
        self.radii, self.contrast = radii, contrast
        self.networks: dict[str, Network] = {}

    def use(self, name: str, network: Network, task: Task) -> None:
        """The generator, or the segmenter that judges."""
        wanted = painted(self.task, self.lesions.names) if name == "model" else self.task
        if (task.regions, task.labels) != (wanted.regions, wanted.labels):
            has, asked = ", ".join(task.regions), ", ".join(wanted.regions)
            raise BadRun(f"{getattr(self, name)} gives {has}, where freetumor asks for {asked}")
        self.networks[name] = network.eval()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        """Weights stay as they are: an implant is as certain as a label can be."""
        implants = draw(batch, self.lesions, self.radii, self.probability)
        result = implants.painted(batch, self.maps(batch), self.contrast)
        if "judge" not in self.networks:
            return result
        logits = self.networks["judge"](result)[0]
        rows = implants.rows(batch.label)
        share = detected(logits, rows, implants.region, exclusive=self.task.exclusive)
        keep = (share > self.passing).view(-1, *(1,) * (batch.image.ndim - 1))
        return batch.but(
            image=torch.where(keep, result.image, batch.image),
            label=torch.where(keep, result.label, batch.label),
        )

    def maps(self, batch: Batch) -> Tensor:
        """Difference maps (B, lesions * M, *S), or one number an item that stands for them."""
        if "model" in self.networks:
            return differences(self.networks["model"](batch)[0])
        channels = len(self.lesions.names) * self.task.inputs
        drawn = 0.2 + 0.5 * torch.rand(len(batch), device=batch.image.device)
        shape = (-1, channels, *batch.image.shape[2:])
        return drawn.view(-1, *(1,) * (batch.image.ndim - 1)).expand(shape)
