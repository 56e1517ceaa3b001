"""LightM-UNet: an encoder of residual state-space layers, a decoder of depth-wise convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.pyramid import descended, finest, summed
from oncoseg.blocks.scan import ALONE, Mamba
from oncoseg.blocks.units import POOL, levels
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "LightM-UNet: Mamba Assists in Lightweight UNet for Medical Image Segmentation",
    2024,
    arxiv="2403.05246",
    reading="As in the public code, whose default width is 32; the paper states 1.87 million "
    "parameters in 3-D, which no setting of that code has. Pooling follows the plan. In "
    "two minutes of a core it falls behind the U-Net on polyps, nuclei and hippocampi "
    "(docs/networks): its scans run over all pixels at full size, which leaves few steps; "
    "four polyps are learned by heart.",
)
BLOCKS = (1, 2, 2, 4)


class LightmUnet(Network):
    """Stages of 1, 2, 2 and 4 residual blocks of two layers each; any further stages have 4.

    A layer is W LN(Mamba(LN(x)) + s x) over voxels in raster order, with one norm twice. Stages
    widen and are pooled by `task.strides`; the decoder narrows, brings up and adds the skip.
    """

    def __init__(self, task: Task, *, width: int = 16, states: int = 16) -> None:
        super().__init__()
        if width % 8:
            raise BadOption(f"LightmUnet takes a width that 8 divides, not {width}")
        dims, strides = task.dims, task.strides
        self.widths = [width * 2**level for level in range(len(strides) + 1)]
        self.stem = separable(dims, task.inputs, width, 3)
        self.wider = nn.ModuleList(
            Layer(before, after, states) for before, after in zip(self.widths, self.widths[1:])
        )
        self.pool = nn.ModuleList(POOL[dims](step, step, ceil_mode=True) for step in strides)
        counts = levels(BLOCKS, len(strides) + 1)
        self.encoder = nn.ModuleList(
            nn.Sequential(*(Block(width, states) for _ in range(count)))
            for width, count in zip(self.widths, counts)
        )
        finer = list(zip(self.widths[:-1], self.widths[1:]))
        self.narrow = nn.ModuleList(
            CONV[dims](coarse, fine, 1, bias=False) for fine, coarse in finer
        )
        self.decoder = nn.ModuleList(Up(dims, fine) for fine, _ in finer)
        self.head = nn.Sequential(
            nn.GroupNorm(8, width), nn.ReLU(), separable(dims, width, task.outputs, 1, bias=True)
        )
        self.alone = ALONE

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i), finest first."""
        features = self.encoder[0](self.stem(batch.image * batch.present))
        pyramid = [features]
        for wider, pool, stage in zip(self.wider, self.pool, self.encoder[1:]):
            features = stage(pool(wider(features)))
            pyramid.append(features)
        return pyramid

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S)."""
        return [self.head(finest(descended(pyramid, self.narrow, self.decoder, summed)))]


class Layer(nn.Module):
    """The residual vision Mamba layer; (B, inputs, *S) -> (B, width, *S), in float32 at least."""

    def __init__(self, inputs: int, width: int, states: int) -> None:
        super().__init__()
        self.norm, self.mamba = LayerNorm(inputs), Mamba(inputs, states=states)
        self.project = nn.Linear(inputs, width)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, width, *S)."""
        with torch.autocast(features.device.type, enabled=False):
            tokens = features.to(self.scale.dtype).flatten(2).transpose(1, 2)
            mixed = self.mamba(self.norm(tokens)) + self.scale * tokens
            wide = self.project(self.norm(mixed)).transpose(1, 2)
        found: Tensor = wide.reshape(*wide.shape[:2], *features.shape[2:])
        return found


class Block(nn.Module):
    """Norm, ReLU and layer, twice, round a shortcut."""

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(2))
        self.layers = nn.ModuleList(Layer(width, width, states) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        found = features
        for norm, layer in zip(self.norms, self.layers):
            found = layer(F.relu(norm(found)))
        return features + found


class Up(nn.Module):
    """Norm, ReLU and a depth-wise separable convolution with a scaled shortcut; norm, ReLU."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv = separable(dims, width, width, 3)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        found = self.conv(F.relu(self.first(features))) + self.scale * features
        return F.relu(self.second(found))


def separable(
    dims: int, inputs: int, width: int, kernel: int, *, bias: bool = False
) -> nn.Sequential:
    """A convolution of each channel by itself, then one of 1 x 1."""
    padding = kernel // 2
    return nn.Sequential(
        CONV[dims](inputs, inputs, kernel, padding=padding, groups=inputs, bias=bias),
        CONV[dims](inputs, width, 1, bias=bias),
    )
