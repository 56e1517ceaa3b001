"""Volume Fusion: learn from unlabelled scans to tell by how much two views were mixed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from oncoseg.blocks.mixing import block_grid, random_box
from oncoseg.blocks.resize import LINEAR
from oncoseg.blocks.supervision import deep_loss
from oncoseg.case import Batch, Task
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network

CARD = Card(
    "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a Large-Scale "
    "Unannotated Dataset",
    2023,
    arxiv="2306.16925",
    reading="Our reading: both views are cut from the sampled patch, which stands for the volume "
    "(cuts longer than it are limited to it); values return to the range they had.",
)


class MisfmVolumeFusion(Method):
    """fused = a f + (1 - a) b for two views f, b of one scan, with a = k / `classes`; predict k.

    k is constant in blocks of `blocks` voxels: 1 to `classes` in a `share` of them, else 0. A view
    is a random cut, `scale` times the patch, resized to it and flipped; its values are cut at
    percentiles and bent by `gamma`, and both views are turned negative with probability `invert`.
    The network has `classes` + 1 outputs; start another task's training from it (`--start`).
    """

    needs = ()
    segments = False

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        classes: int = 4,
        share: float = 0.7,
        blocks: tuple[int, ...] = (8, 32),
        scale: tuple[float, ...] = (0.7, 1.5),
        gamma: tuple[float, ...] = (0.7, 1.5),
        invert: float = 0.25,
    ) -> None:
        super().__init__(network, task, loss)
        self.classes, self.share, self.blocks = classes, share, blocks
        self.scale, self.gamma, self.invert = scale, gamma, invert

    @classmethod
    def pretext(cls, task: Task, *, classes: int = 4, **options: Any) -> Task:
        """The task whose exclusive classes are the shares of f, 1 / classes to 1."""
        names = {f"share_{value}": value for value in range(1, classes + 1)}
        return replace(task, labels=names, regions={name: (name,) for name in names})

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One loss, `fusion`."""
        fused = self.fuse(batch)
        return {"fusion": deep_loss(self.loss, self.network(fused), fused.label, fused.weight)}

    def fuse(self, batch: Batch) -> Batch:
        """The batch with each image fused from two views of it, and its label the class of each."""
        parts = [self._fused(batch[item : item + 1]) for item in range(len(batch))]
        image, present, label, weight = (torch.cat(column) for column in zip(*parts))
        known = torch.ones(len(batch), self.classes + 1, dtype=torch.bool, device=image.device)
        return batch.but(image=image, present=present, label=label, weight=weight, annotated=known)

    def _fused(self, item: Batch) -> tuple[Tensor, ...]:
        negative = bool(torch.rand(()) < self.invert)
        (front, seen, inside), (back, other, around) = (self.view(item, negative) for _ in range(2))
        grid = block_grid(item.image.shape[2:], self.blocks, self.classes, self.share)
        grid = grid.to(item.image.device)
        alpha = grid / self.classes
        label = F.one_hot(grid, self.classes + 1).movedim(-1, 0)[None].float()
        fused = alpha * front + (1 - alpha) * back
        return fused, seen | other, label, torch.maximum(inside, around)

    def view(self, item: Batch, negative: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Image (1, M, *S), presence and weight of a random cut of one item."""
        wide = torch.cat([item.image, item.present.float(), item.weight], dim=1)
        size = wide.shape[2:]
        low, high = self.scale
        cut = random_box(size, [low + (high - low) * float(torch.rand(())) for _ in size])
        near = wide[(slice(None), slice(None)) + cut]  # noqa: RUF005 - Python 3.10
        wide = F.interpolate(near, size=size, mode=LINEAR[len(size)], align_corners=False)
        wide = wide.flip([axis for axis in range(2, wide.ndim) if torch.rand(()) < 0.5])
        count = item.image.shape[1]
        image, present, weight = wide.split((count, count, 1), dim=1)
        present = present > 0.5
        bent = [self.contrast(image[:, at], present[:, at], negative) for at in range(count)]
        return torch.stack(bent, dim=1), present, (weight > 0.5).float()

    def contrast(self, values: Tensor, present: Tensor, negative: bool) -> Tensor:
        """Cut at percentiles 0.1 to 2 and 98 to 99.9, bent by a power, perhaps made negative."""
        if not present.any():
            return torch.zeros_like(values)
        draw = torch.rand(3).tolist()
        ends = torch.tensor([0.001 + 0.019 * draw[0], 0.98 + 0.019 * draw[1]]).to(values)
        sample = values[present]
        low, high = torch.quantile(sample[:: sample.numel() // 10**6 + 1], ends)
        unit = ((values - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
        unit = unit ** (self.gamma[0] + (self.gamma[1] - self.gamma[0]) * draw[2])
        unit = 1 - unit if negative else unit
        return torch.where(present, low + unit * (high - low), 0)
