"""H-DenseUNet: a dense U-Net on slices, one on the volume that sees what it says, both fused."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, initialise
from oncoseg.blocks.densenet import Densenet, Rise
from oncoseg.blocks.resize import fitted, padded
from oncoseg.blocks.slices import across, beside, cut, joined
from oncoseg.blocks.units import norm_of
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "H-DenseUNet: Hybrid Densely Connected UNet for Liver and Tumor Segmentation from CT Volumes",
    2018,
    arxiv="1709.07330",
    doi="10.1109/TMI.2018.2845918",
    reading="Sizes are those of the public code (no licence; read, not copied), and as there the "
    "3-D part has no skips; the 2-D part has those of its 2-D training. Norms have one "
    "affine part where there they have two. All is trained at once, where the paper trains "
    "the parts first. In two minutes of a core it falls behind the U-Net on polyps and "
    "hippocampi (docs/networks), but learns four polyps by heart.",
)
BOTH = 32, 4  # what divides sizes within a slice, and the number of slices
NEAR = (-1, 0, 1)


class HDenseunet(Network):
    """A 2-D network sees each slice and its two neighbours; a 3-D one the volume and its scores.

    Scores enter times `factor`, which belongs to the scale of intensities (the paper has CT numbers
    and 250). The features of both, the slices re-stacked, are added, convolved and classified.
    Slices lie along the axis of the longest voxels, or the last of equals. An image in 2-D is one
    slice without neighbours, and has the 2-D network alone. Published: `width=96,growth=48x32,
    flat=6x12x36x24,volume=3x4x12x8,features=64,factor=250`.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        growth: tuple[int, ...] = (8, 8),
        flat: tuple[int, ...] = (2, 4, 6, 4),
        volume: tuple[int, ...] = (2, 2, 4, 2),
        features: int = 16,
        factor: float = 1.0,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if len(growth) != 2 or len(flat) != 4 or len(volume) != 4 or width < 2:
            raise BadOption(
                "HDenseunet takes a growth of both parts, four units each and a width of at least "
                f"2, not {growth}, {flat}, {volume} and {width}"
            )
        self.solid, self.factor = task.dims == 3, factor
        self.axis = across(task.spacing)
        inputs = task.inputs * (len(NEAR) if self.solid else 1)
        steps = [(2, 2)] * 5
        self.flat = Densenet(2, inputs, width, growth[0], flat, steps)
        self.flat_up = Rise(2, self.flat.widths, features, steps, skips=True, dropout=dropout)
        self.flat_head = CONV[2](features, task.outputs, 1)
        self.widths = self.flat.widths
        if self.solid:
            within = tuple(1 if axis == self.axis else 2 for axis in range(3))
            deep = [(2, 2, 2)] * 2 + [within] * 3  # across slices, two steps of five
            seen = task.inputs + task.outputs
            self.volume = Densenet(3, seen, width, growth[1], volume, deep)
            self.volume_up = Rise(3, self.volume.widths, features, deep, skips=False)
            self.fuse = nn.Sequential(
                CONV[3](features, features, 3, padding=1),
                nn.Dropout(dropout),
                norm_of(3, features, "batch"),
                nn.ReLU(),
            )
            self.head = CONV[3](features, task.outputs, 1)
            self.widths = [features, *self.volume.widths]
        self.apply(initialise)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Of 2-D images the features of DenseNet (B, widths[i], *S / 2^(i + 1)), finest first.

        Of volumes what the 2-D network found, at full size, then those of the 3-D DenseNet. S is
        padded to 32 within slices, to 4 slices.
        """
        image = batch.image * batch.present
        if not self.solid:
            found: list[Tensor] = self.flat(padded(image, BOTH[0]))
            return found
        image = padded(image, [BOTH[axis == self.axis] for axis in range(3)])
        stacked, scores = self.slices(image)
        seen = torch.cat([image, self.factor * scores], dim=1)
        return [stacked, *self.volume(seen)]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        if self.solid:
            both = pyramid[0] + self.volume_up(pyramid[1:])
            logits = self.head(self.fuse(both))
        else:
            logits = self.flat_head(self.flat_up(pyramid))
        return [fitted(logits, batch.image)]

    def slices(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, *S) -> the 2-D network's features and scores of every slice, re-stacked."""
        count = image.shape[2 + self.axis]
        features = self.flat_up(self.flat(cut(beside(image, self.axis, NEAR), self.axis)))
        scores = self.flat_head(features)
        return joined(features, self.axis, count), joined(scores, self.axis, count)
