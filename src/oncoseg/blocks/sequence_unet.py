"""A residual U-Net with layers that read voxels as a sequence, after stages of its encoder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, initialise, seen
from oncoseg.blocks.scan import ALONE
from oncoseg.blocks.strided import strided_stage
from oncoseg.blocks.units import WIDEST
from oncoseg.case import Batch, Task
from oncoseg.errors import BadData, BadOption
from oncoseg.trainable import Network

PLACES = {"bottleneck": "bottleneck", "bot": "bottleneck", "encoder": "encoder", "enc": "encoder"}


class SequenceUnet(Network):
    """Stages of `blocks` residual blocks (one in the coarser half), strided by `task.strides`.

    `where` is `bottleneck` (or `bot`), of scans of any size, or `encoder` (or `enc`), which sees
    `task.patch` alone. `limit` of 0 means that widths double up to 320 in 3-D and 512 in 2-D. The
    image (B, M, *S) enters with its presence mask, as 2 M channels.
    """

    def __init__(
        self, task: Task, *, where: str, width: int, limit: int, blocks: int, further: int = 1
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if where not in PLACES:
            raise BadOption(f"{name} has where of {', '.join(PLACES)}, not '{where}'")
        if min(width, blocks, further) < 1:
            raise BadOption(f"{name} takes widths, blocks and the like of at least 1")
        dims, limit = task.dims, limit or WIDEST[task.dims]
        strides = [(1,) * dims, *task.strides]
        last = len(task.strides)
        self.patch = task.patch if PLACES[where] == "encoder" else ()
        self.widths = [min(limit, width * 2**level) for level in range(last + 1)]
        # The coarser half of the stages has one block each, in the encoder and in the decoder.
        deep = [blocks if level <= last // 2 else 1 for level in range(last + 1)]
        mirrored = [blocks if last - 1 - level <= last // 2 else 1 for level in range(last)]
        inputs = [width, *self.widths]
        self.stem = strided_stage(dims, 2 * task.inputs, width, strides[0], blocks)
        self.encoder = nn.ModuleList(
            strided_stage(dims, inputs[level], self.widths[level], strides[level], deep[level])
            for level in range(last + 1)
        )
        layers = {
            str(level): self.layer(dims, level, sizes)
            for level, sizes in enumerate(self._sizes(strides))
        }
        self.layers = nn.ModuleDict({name: layer for name, layer in layers.items() if layer})
        finer = list(enumerate(zip(self.widths[:-1], self.widths[1:])))
        self.up = nn.ModuleList(CONV[dims](coarse, fine, 1) for _, (fine, coarse) in finer)
        self.decoder = nn.ModuleList(
            strided_stage(dims, self.joined(dims, level) * fine, fine, strides[0], mirrored[level])
            for level, (fine, _) in finer
        )
        self.heads = nn.ModuleList(CONV[dims](fine, task.outputs, 1) for _, (fine, _) in finer)
        self.apply(initialise)
        if self.patch:
            self.alone = ALONE

    @abstractmethod
    def layer(self, dims: int, level: int, sizes: Sequence[int]) -> nn.Module | None:
        """What stands after a stage, if anything: (B, widths[level], *S) -> the same.

        `sizes` are the voxels along each axis, () where any number may come.
        """

    def joined(self, dims: int, level: int) -> int:
        """How many maps the decoder joins at a level: 2, or 1 where it leaves out the skip."""
        return 2

    def _sizes(self, strides: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Voxels of each stage along each axis where the patch is fixed, else ()."""
        sizes, found = self.patch, []
        for stride in strides:
            sizes = tuple(-(-size // step) for size, step in zip(sizes, stride))
            found.append(sizes)
        return found

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first.

        Raises `BadData` if the layers are in the encoder and the image is not of the patch's size.
        """
        shape = tuple(batch.image.shape[2:])
        if self.patch and shape != self.patch:
            raise BadData(
                f"this network was built for patches of {_times(self.patch)} voxels and cannot see "
                f"{_times(shape)}; cut to that patch, or use where=bottleneck"
            )
        features = self.stem(seen(batch.image, batch.present))
        pyramid = []
        for level, stage in enumerate(self.encoder):
            features = stage(features)
            if str(level) in self.layers:
                features = self.layers[str(level)](features)
            pyramid.append(features)
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S_i), finest first."""
        features = pyramid[-1]
        logits: list[Tensor] = []
        for level in reversed(range(len(self.up))):
            wider = F.interpolate(features, size=pyramid[level].shape[2:], mode="nearest")
            features = self.up[level](wider)
            if self.joined(features.ndim - 2, level) > 1:
                features = torch.cat([features, pyramid[level]], dim=1)
            features = self.decoder[level](features)
            if self.training or level == 0:
                logits.insert(0, self.heads[level](features))
        return logits


class AlongVoxels(nn.Module, ABC):
    """A layer over voxels in raster order, in float32 at least.

    Where `sizes` says that there are no more voxels than channels, channels are the tokens and
    voxels their features; either way a token has `size` features.
    """

    def __init__(self, width: int, sizes: Sequence[int]) -> None:
        super().__init__()
        voxels = math.prod(sizes)
        self.turned = bool(sizes) and voxels <= width
        self.size = voxels if self.turned else width

    @abstractmethod
    def mixed(self, tokens: Tensor) -> Tensor:
        """(B, L, size) -> (B, L, size)."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        exact = features.to(torch.promote_types(features.dtype, torch.float32)).flatten(2)
        with torch.autocast(features.device.type, enabled=False):
            tokens = self.mixed(exact if self.turned else exact.transpose(1, 2))
        return (tokens if self.turned else tokens.transpose(1, 2)).reshape(features.shape)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
