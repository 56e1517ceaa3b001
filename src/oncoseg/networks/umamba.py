"""U-Mamba: a residual U-Net with state-space layers at the bottleneck, or after encoder stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, seen
from oncoseg.blocks.scan import Mamba
from oncoseg.blocks.strided import strided_stage
from oncoseg.case import Batch, Task
from oncoseg.errors import BadData, BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "U-Mamba: Enhancing Long-range Dependency for Biomedical Image Segmentation",
    2024,
    arxiv="2401.04722",
    reading="The paper says little of where layers stand: as in the public code, 3-D encoders have "
    "one after every stage, 2-D ones after every other; kernels are 3 along every axis.",
)
PLACES = {"bottleneck": "bottleneck", "bot": "bottleneck", "encoder": "encoder", "enc": "encoder"}


class Umamba(Network):
    """Stages of `blocks` residual blocks (one in the coarser half), strided by `task.strides`.

    `where`: `bottleneck` (or `bot`) puts one Mamba layer after the last stage; `encoder` (or `enc`)
    one after every stage in 3-D, after every other one and the last in 2-D. There, a stage with no
    more voxels than channels takes channels as tokens, so the network sees `task.patch` alone.
    `limit` of 0 means that widths double up to 320 in 3-D and 512 in 2-D. The image (B, M, *S)
    enters with its presence mask, as 2 M channels.
    """

    def __init__(
        self,
        task: Task,
        *,
        where: str = "bottleneck",
        width: int = 32,
        limit: int = 0,
        blocks: int = 2,
        states: int = 16,
    ) -> None:
        super().__init__()
        if where not in PLACES:
            raise BadOption(f"Umamba has where of {', '.join(PLACES)}, not '{where}'")
        if min(width, blocks, states) < 1:
            raise BadOption("Umamba takes width, blocks and states of at least 1")
        dims, limit = task.dims, limit or {2: 512, 3: 320}[task.dims]
        strides = [(1,) * dims, *task.strides]
        last = len(task.strides)
        self.patch = task.patch if PLACES[where] == "encoder" else ()
        if self.patch:
            self.alone = "its scans run over all voxels, too long to be unrolled into a graph"
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
        self.layers = nn.ModuleDict(
            {
                str(level): StateSpace(self.widths[level], sizes, states)
                for level, sizes in enumerate(self._sizes(strides))
                if level == last or (self.patch and (dims == 3 or (last - level) % 2 == 0))
            }
        )
        finer = list(enumerate(zip(self.widths[:-1], self.widths[1:])))
        self.up = nn.ModuleList(CONV[dims](coarse, fine, 1) for _, (fine, coarse) in finer)
        self.decoder = nn.ModuleList(
            strided_stage(dims, 2 * fine, fine, strides[0], mirrored[level])
            for level, (fine, _) in finer
        )
        self.heads = nn.ModuleList(CONV[dims](fine, task.outputs, 1) for _, (fine, _) in finer)
        self.apply(_initialise)

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
                f"{_times(shape)}; cut to that patch, or use umamba:where=bottleneck"
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
            joined = torch.cat([self.up[level](wider), pyramid[level]], dim=1)
            features = self.decoder[level](joined)
            if self.training or level == 0:
                logits.insert(0, self.heads[level](features))
        return logits


class StateSpace(nn.Module):
    """Layer norm and a Mamba block over voxels in raster order, without a shortcut.

    Where `sizes` says that there are no more voxels than channels, channels are the tokens and
    voxels their features.
    """

    def __init__(self, width: int, sizes: Sequence[int], states: int) -> None:
        super().__init__()
        voxels = math.prod(sizes)
        self.turned = bool(sizes) and voxels <= width
        self.norm = nn.LayerNorm(voxels if self.turned else width)
        self.mamba = Mamba(voxels if self.turned else width, states=states)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S), in float32."""
        tokens = features.flatten(2) if self.turned else features.flatten(2).transpose(1, 2)
        with torch.autocast(features.device.type, enabled=False):
            mixed = self.mamba(self.norm(tokens.to(self.norm.weight.dtype)))
        back: Tensor = mixed if self.turned else mixed.transpose(1, 2)
        return back.reshape(features.shape)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
