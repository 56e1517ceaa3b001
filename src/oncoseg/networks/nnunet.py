"""The U-Nets of nnU-Net v2, plain or with a residual encoder, layer by layer as it builds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import (
    CONV,
    TRANSPOSED,
    ConvNormAct,
    ResidualBlock,
    initialise,
    stage,
)
from oncoseg.blocks.pyramid import climbed, descended, logits_of
from oncoseg.blocks.strided import StridedBlock
from oncoseg.blocks.units import WIDEST, levels
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "nnU-Net Revisited: A Call for Rigorous Validation in 3D Medical Image Segmentation",
    2024,
    arxiv="2404.09556",
    reading="PlainConvUNet and ResidualEncoderUNet with the layers, the kernels and the numbers of "
    "parameters of nnU-Net 2.8; patch, spacing and strides are the plan's. Several "
    "`members` are its ensemble of folds, whose logits are averaged. Residual blocks that "
    "are `strided` are those of MONAI's DynUNet. In two minutes of a core it falls behind "
    "the U-Net on polyps (docs/networks), since its steps are fewer: after as many, the "
    "U-Net has about as much.",
)
RESIDUAL = (1, 3, 4, 6)  # blocks of the first stages, then as many as in the last of these


class Nnunet(Network):
    """Stages of convolutions, each but the first strided by `task.strides`, and a decoder.

    The image (B, M, *S) enters alone, 0 where a modality is absent. `widths`, `blocks`, `decoder`
    and `kernels` have an entry a stage, finest first; where one is empty, nnU-Net's own rule holds:
    `widths` double from `width` up to 320 (2-D: 512); `blocks` are 2 convolutions, or 1, 3, 4, 6,
    6, ... residual blocks; `decoder` (a stage less) are 2 convolutions, or 1; `kernels`, as
    133x333, are 1 along an axis until its voxels are less than twice as long as the shortest ones.
    `strided` residual blocks have shortcuts that are strided and not pooled, and no stem.
    Logits come at every resolution but the coarsest.
    """

    def __init__(
        self,
        task: Task,
        *,
        width: int = 32,
        widths: tuple[int, ...] = (),
        blocks: tuple[int, ...] = (),
        decoder: tuple[int, ...] = (),
        kernels: tuple[str, ...] = (),
        residual: bool = False,
        strided: bool = False,
        members: int = 1,
    ) -> None:
        super().__init__()
        stages = len(task.strides) + 1
        limit = WIDEST[task.dims]
        usual = tuple(levels(RESIDUAL, stages)) if residual else (2,) * stages
        widths = widths or tuple(min(limit, width * 2**level) for level in range(stages))
        blocks = blocks or usual
        decoder = decoder or (1 if residual else 2,) * (stages - 1)
        sizes = [_kernel(text, task.dims) for text in kernels] or _kernels(task)
        for name, given, wanted in (
            ("widths", widths, stages),
            ("blocks", blocks, stages),
            ("decoder", decoder, stages - 1),
            ("kernels", sizes, stages),
        ):
            if len(given) != wanted:
                raise BadOption(f"Nnunet takes {wanted} {name} for this plan, not {len(given)}")
        if min(*widths, *blocks, *decoder, members) < 1:
            raise BadOption("Nnunet takes widths, blocks, decoder and members of at least 1")
        if strided and not residual:
            raise BadOption("Nnunet takes strided for residual blocks alone; add residual")
        self.widths = [size * members for size in widths]
        self.members = nn.ModuleList(
            Member(task, widths, blocks, decoder, sizes, residual=residual, strided=strided)
            for _ in range(members)
        )

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S_i), finest first; those of several members follow another."""
        image = batch.image * batch.present
        pyramids = [member.encode(image) for member in self._each()]
        if len(pyramids) == 1:
            return pyramids[0]
        return [torch.cat(level, dim=1) for level in zip(*pyramids)]

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S_i), finest first: the mean over the members."""
        parts = zip(*(level.chunk(len(self.members), dim=1) for level in pyramid))
        found = [
            member.decode(list(part), every=self.training)
            for member, part in zip(self._each(), parts)
        ]
        if len(found) == 1:
            return found[0]
        return [torch.stack(level).mean(0) for level in zip(*found)]

    def samples(self, batch: Batch, count: int) -> Tensor:
        """(count, B, outputs, *S): logits of one member after the other, over and over."""
        image = batch.image * batch.present
        members = self._each()[:count]
        found = [each.decode(each.encode(image), every=False)[0] for each in members]
        return torch.stack([found[place % len(found)] for place in range(count)])

    def _each(self) -> list[Member]:
        return cast("list[Member]", list(self.members))


class Member(nn.Module):
    """One U-Net, modules finest first; its encoder begins with a stem where it is residual."""

    def __init__(
        self,
        task: Task,
        widths: Sequence[int],
        blocks: Sequence[int],
        decoder: Sequence[int],
        kernels: Sequence[Sequence[int]],
        *,
        residual: bool,
        strided: bool,
    ) -> None:
        super().__init__()
        dims, one = task.dims, (1,) * task.dims
        block = (StridedBlock if strided else ResidualBlock) if residual else ConvNormAct
        stem = residual and not strided
        first = widths[0] if stem else task.inputs
        self.stem = (
            ConvNormAct(dims, task.inputs, first, one, kernels[0]) if stem else nn.Identity()
        )

        strides = [one, *task.strides]
        self.encoder = nn.ModuleList(
            stage(dims, inputs, width, stride, count, kind=block, kernel=kernel)
            for inputs, width, stride, count, kernel in zip(
                [first, *widths], widths, strides, blocks, kernels
            )
        )
        self.up = nn.ModuleList(
            TRANSPOSED[dims](widths[level + 1], widths[level], stride, stride)
            for level, stride in enumerate(task.strides)
        )
        self.decoder = nn.ModuleList(
            stage(dims, 2 * width, width, one, count, kernel=kernel)
            for width, count, kernel in zip(widths, reversed(decoder), kernels)
        )
        self.heads = nn.ModuleList(CONV[dims](width, task.outputs, 1) for width in widths[:-1])
        self.apply(initialise)
        self.apply(_quiet)

    def encode(self, image: Tensor) -> list[Tensor]:
        """(B, M, *S) -> features, finest first."""
        return climbed(self.encoder, self.stem(image))

    def decode(self, pyramid: list[Tensor], *, every: bool) -> list[Tensor]:
        """Features -> logits at `every` resolution but the coarsest, or at the finest alone."""
        return logits_of(self.heads, descended(pyramid, self.up, self.decoder), every=every)


def _quiet(module: nn.Module) -> None:
    """A residual block begins as its shortcut: its last norm has no weight."""
    if isinstance(module, ResidualBlock):
        for value in module.second[1].parameters():
            nn.init.zeros_(value)


def _kernel(text: str, dims: int) -> tuple[int, ...]:
    """`133` -> (1, 3, 3)."""
    if len(text) != dims or not all(letter in "13579" for letter in text):
        raise BadOption(f"a kernel of Nnunet has an odd digit an axis, as {'3' * dims}; not {text}")
    return tuple(map(int, text))


def _kernels(task: Task) -> list[tuple[int, ...]]:
    """Kernels a stage by nnU-Net's rule on spacing; the coarsest stage has 3 along every axis."""
    spacing, sizes = list(task.spacing), []
    kernel = [1] * task.dims
    for stride in task.strides:
        near = [3 if length < 2 * min(spacing) else 1 for length in spacing]
        kernel = [max(pair) for pair in zip(kernel, near)]
        sizes.append(tuple(kernel))
        spacing = [length * step for length, step in zip(spacing, stride)]
    return [*sizes, (3,) * task.dims]
