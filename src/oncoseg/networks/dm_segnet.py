"""DM-SegNet: Mamba in the encoder along four routes, and in the decoder after fusing scales."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, NORM, TRANSPOSED
from oncoseg.blocks.resize import fitted, padded
from oncoseg.blocks.routed_mamba import RoutedMamba, slicewise
from oncoseg.blocks.scan import ALONE
from oncoseg.blocks.unetr import UnetrBlock, UnetrUp
from oncoseg.blocks.units import unit
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "DM-SegNet: Dual-Mamba Architecture for 3D Medical Image Segmentation with Global Context "
    "Modeling",
    2025,
    arxiv="2506.05297",
    doi="10.1016/j.cag.2025.104334",
    reading="No code is public: four routes, the gate of the fusion and how states are handed on "
    "are our reading, on the scaffold of SegMamba (arXiv 2401.13560). Sizes are halved "
    "four times, whatever the plan, of images padded to multiples of 32; 2-D is ours. In "
    "two minutes of a core it falls behind the U-Net on polyps (docs/networks), since its "
    "steps are fewer: after as many, the U-Net has about as much.",
)


class DmSegnet(Network):
    """A strided stem and four stages of `depth` blocks, at S/2 to S/16; widths double.

    A block is a gated spatial convolution, Mamba along four routes and a perceptron, each round a
    shortcut. The decoder fuses what comes from below with the skip, and scans it there and back;
    with `state_sync`, from the state in which the scan of the coarser scale ended, through a map
    that is 0 at first. `shared` gives all routes of a layer one scan. Large: width=48, depth=2,
    states=16.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        depth: int = 1,
        states: int = 8,
        shared: bool = False,
        state_sync: bool = True,
    ) -> None:
        super().__init__()
        if min(width, depth, states) < 1:
            raise BadOption("DmSegnet takes a width, depth and states of at least 1")
        dims = task.dims
        wide = [width * 2**stage for stage in range(4)]
        self.widths = [width, *wide]
        settings: dict[str, Any] = {"states": states, "shared": shared}
        self.stem = CONV[dims](task.inputs, width, 7, 2, 3)
        self.stages = nn.ModuleList(
            nn.Sequential(*(QsMamba(dims, size, settings) for _ in range(depth))) for size in wide
        )
        finer = list(pairwise(wide))
        self.down = nn.ModuleList(
            nn.Sequential(NORM[dims](fine, affine=True), CONV[dims](fine, coarse, 2, 2))
            for fine, coarse in finer
        )
        self.skips = nn.ModuleList(
            UnetrBlock(dims, before, after)
            for before, after in zip([task.inputs, *wide], self.widths)
        )
        self.fuse = nn.ModuleList(
            MfMamba(dims, coarse, fine, settings, synchronised=state_sync and coarse != wide[-1])
            for fine, coarse in finer
        )
        self.last = UnetrUp(dims, width, width)
        self.head = CONV[dims](width, task.outputs, 1)
        self.alone = ALONE

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / 2^i), finest first; S is padded to multiples of 32."""
        image = padded(batch.image * batch.present, 32)
        features, found = self.stem(image), [image]
        for place, stage in enumerate(self.stages):
            features = stage(self.down[place - 1](features) if place else features)
            found.append(features)
        return [skip(each) for skip, each in zip(self.skips, found)]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features, state = pyramid[-1], torch.empty(0)
        for fuse, skip in zip(reversed(self.fuse), reversed(pyramid[1:-1])):
            features, state = fuse(features, skip, state)
        return [fitted(self.head(self.last(features, pyramid[0])), batch.image)]


class QsMamba(nn.Module):
    """x + conv(convs(x) + conv(x)), then x + Mamba(x) along four routes, then x + mlp(norm(x))."""

    def __init__(self, dims: int, width: int, settings: dict[str, Any]) -> None:
        super().__init__()
        of: dict[str, Any] = {"norm": "instance"}
        self.convs = nn.Sequential(*(unit(dims, width, width, **of) for _ in range(2)))
        self.beside = unit(dims, width, width, 1, **of)
        self.joined = unit(dims, width, width, 1, **of)
        self.mamba = RoutedMamba(width, slicewise(dims), **settings)
        self.norm = NORM[dims](width, affine=True)
        self.mlp = nn.Sequential(
            CONV[dims](width, 2 * width, 1), nn.GELU(), CONV[dims](2 * width, width, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, *S) -> (B, width, *S)."""
        features = features + self.joined(self.convs(features) + self.beside(features))
        features = features + self.mamba(features)
        found: Tensor = features + self.mlp(self.norm(features))
        return found


class MfMamba(nn.Module):
    """What is brought up and the skip, weighed by a gate; Mamba there and back; a residual block.

    Where `synchronised`, scans start from the state of the coarser scale, mapped to this width.
    """

    def __init__(
        self, dims: int, coarse: int, fine: int, settings: dict[str, Any], *, synchronised: bool
    ) -> None:
        super().__init__()
        self.up = TRANSPOSED[dims](coarse, fine, 2, 2, bias=False)
        self.gate = CONV[dims](2 * fine, fine, 1)
        self.mamba = RoutedMamba(fine, slicewise(dims)[:2], **settings)
        self.refine = UnetrBlock(dims, fine, fine)
        self.synchronise = nn.Linear(2 * coarse, 2 * fine, bias=False) if synchronised else None
        if self.synchronise is not None:
            nn.init.zeros_(self.synchronise.weight)

    def forward(self, features: Tensor, skip: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, coarse, *S/2), (B, fine, *S) and a state -> (B, fine, *S) and its own state."""
        above = self.up(features)
        gate = torch.sigmoid(self.gate(torch.cat([above, skip], dim=1)))
        fused = gate * skip + (1 - gate) * above
        start = fused.new_zeros(len(fused), self.mamba.inner, self.mamba.states)
        if self.synchronise is not None:
            start = self.synchronise(state.transpose(1, 2)).transpose(1, 2)
        mixed, ended = self.mamba.after(fused, start)
        return self.refine(F.leaky_relu(fused + mixed, 0.01)), ended
