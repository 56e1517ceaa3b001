"""Clicks as two more images, blobs where the target is and where it is not, in front of a U-Net."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from oncoseg import registry
from oncoseg.blocks.clicks import blobs
from oncoseg.blocks.convs import seen
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Interactive segmentation of medical images through fully convolutional neural networks",
    2019,
    arxiv="1903.08205",
    reading="In 2-D and 3-D, with our U-Net. The guidance enters with the image, so nothing but "
    "the image itself is computed once a scan. In two minutes of a core it falls behind "
    "the U-Net on polyps (docs/networks), since its steps are fewer: after as many, the "
    "U-Net has about as much.",
)
GUIDANCE = ("foreground", "background")


class InteractiveFcn(Network):
    """A network that sees, beside the images, a Gaussian blob of `sigma` voxels a click.

    `network` is any that takes more modalities. It reads clicks alone: boxes and masks are for
    others.
    """

    gives = ("prompts",)

    def __init__(self, task: Task, *, network: str = "unet", sigma: float = 2.0) -> None:
        super().__init__()
        if sigma <= 0:
            raise BadOption(f"InteractiveFcn takes a sigma above 0, not {sigma}")
        guided = replace(task, modalities=(*task.modalities, *GUIDANCE))
        self.network: Network = registry.build("networks", network, guided)
        self.inputs, self.sigma = task.inputs, sigma
        self.widths = [2 * task.inputs]

    def encode(self, batch: Batch) -> list[Tensor]:
        """[images, 0 where absent, and where each is present (B, 2 M, *S)]."""
        return [seen(batch.image, batch.present)]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits of the inner network, finest first."""
        image, present = pyramid[0].split(self.inputs, dim=1)
        prompts, shape = batch.prompts, pyramid[0].shape[2:]
        guidance = [
            blobs(prompts.points, prompts.foreground == kind, shape, self.sigma).to(image.dtype)
            for kind in (1, 0)
        ]
        told = torch.ones_like(image[:, :1]).bool().expand(-1, len(GUIDANCE), *shape)
        inner = batch.but(
            image=torch.cat([image, *guidance], dim=1),
            present=torch.cat([present > 0, told], dim=1),
        )
        return self.network.decode(self.network.encode(inner), inner)
