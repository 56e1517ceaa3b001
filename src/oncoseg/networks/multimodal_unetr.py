"""Multimodal UNETR: tokens of every modality that is there, one transformer, a UNETR decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV, TRANSPOSED, ConvNormAct, ResidualBlock
from oncoseg.blocks.pyramid import descended, finest
from oncoseg.blocks.resize import fitted, padded
from oncoseg.blocks.subsets import key, mean_over
from oncoseg.blocks.vit import Vit, patchify, sincos_positions
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Multimodal Masked Autoencoder Pre-training for 3D MRI-based Brain Tumor Analysis with "
    "Missing Modalities",
    2025,
    arxiv="2505.00568",
    reading="The network of BM-MAE. The published UNETR reads the images of a fixed subset at full "
    "resolution; here each modality has its own first convolution, averaged over those "
    "that are there, so that one set of weights serves every subset. The class token is "
    "kept. The paper's size is width=768,depth=12,heads=12. In two minutes of a core it "
    "falls behind the U-Net on polyps and hippocampi (docs/networks), but learns four "
    "polyps by heart.",
)


class Tokens(nn.Module):
    """Patches of each modality as tokens, and the transformer over all that are there.

    This is what `gives` names: methods read `embed`, `vit`, `patch` and `width`.
    """

    def __init__(
        self, task: Task, patch: int, width: int, depth: int, heads: int, expansion: int
    ) -> None:
        super().__init__()
        self.patch, self.width, self.modalities = patch, width, task.modalities
        self.embeddings = nn.ModuleDict(
            {key(name): nn.Linear(patch**task.dims, width) for name in task.modalities}
        )
        self.vit = Vit(width, depth, heads, expansion)

    def embed(self, image: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Image and presence (B, M, *S) -> tokens (B, M, N, width), which are there (B, M, N).

        A token is there where any voxel of its patch is. S is a multiple of the patch.
        """
        grid = [size // self.patch for size in image.shape[2:]]
        voxels = patchify(image * present, self.patch).unbind(1)
        tokens = torch.stack(
            [self.embeddings[key(name)](part) for name, part in zip(self.modalities, voxels)], dim=1
        )
        there = patchify(present.to(image.dtype), self.patch).amax(-1) > 0
        return tokens + sincos_positions(grid, self.width, image.device).to(tokens), there


class MultimodalUnetr(Network):
    """Tokens of `patch` voxels a side; `depth` blocks of `width`; a decoder from `features` up.

    Tokens of a modality at a place where it is absent take no part. Hidden states at even distances
    in depth (3, 6, 9, 12 of 12 for patches of 16) are averaged over the modalities that are there,
    place by place, and brought to the resolutions of a U-Net's levels.
    """

    gives = ("tokens",)

    def __init__(
        self,
        task: Task,
        *,
        patch: int = 16,
        width: int = 192,
        depth: int = 8,
        heads: int = 6,
        expansion: int = 2,
        features: int = 16,
    ) -> None:
        super().__init__()
        levels = patch.bit_length() - 1
        _check(patch, depth)
        dims = task.dims
        self.modalities = task.modalities
        self.tokens = Tokens(task, patch, width, depth, heads, expansion)
        self.taken = [depth * level // levels - 1 for level in range(1, levels + 1)]
        fine = [features * 2**level for level in range(levels)]
        self.widths = [*fine, width]
        self.stems = nn.ModuleDict(
            {key(name): ConvNormAct(dims, 1, features) for name in task.modalities}
        )
        self.stem = ResidualBlock(dims, features, features)
        self.lifts = nn.ModuleList(
            _lift(dims, width, channels, levels - level)
            for level, channels in enumerate(fine)
            if level
        )
        self.up = nn.ModuleList(
            TRANSPOSED[dims](coarse, channels, 2, 2)
            for channels, coarse in zip(fine, self.widths[1:])
        )
        self.decoder = nn.ModuleList(
            ResidualBlock(dims, 2 * channels, channels) for channels in fine
        )
        self.head = CONV[dims](features, task.outputs, 1)

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / 2^i), finest first; S is padded to multiples of the patch.

        The first level are convolutions of the images, the last the transformer's tokens.
        """
        present = padded(batch.present.to(batch.image.dtype), self.tokens.patch)
        image = padded(batch.image, self.tokens.patch) * present
        tokens, there = self.tokens.embed(image, present)
        states = self.tokens.vit(tokens.flatten(1, 2), there.flatten(1))
        grid = [size // self.tokens.patch for size in image.shape[2:]]
        maps = [self._map(states[place], there, grid) for place in self.taken]
        parts = zip(self.modalities, image.split(1, dim=1))
        stems = torch.stack([self.stems[key(name)](part) for name, part in parts], dim=1)
        lifted = [lift(hidden) for lift, hidden in zip(self.lifts, maps)]
        return [self.stem(mean_over(stems, present.unsqueeze(2))), *lifted, maps[-1]]

    @staticmethod
    def _map(state: Tensor, there: Tensor, grid: list[int]) -> Tensor:
        """(B, 1 + M N, width) -> (B, width, *grid): the mean over modalities, place by place."""
        parts = state[:, 1:].unflatten(1, there.shape[1:])
        return mean_over(parts, there.unsqueeze(-1)).transpose(1, 2).unflatten(2, grid)

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits [(B, outputs, *S)]."""
        features = finest(descended(pyramid, self.up, self.decoder))
        return [fitted(self.head(features), batch.image)]


def _check(patch: int, depth: int) -> None:
    if patch < 2 or patch & (patch - 1):
        raise BadOption(f"MultimodalUnetr takes a patch of 2, 4, 8, 16 ... voxels, not {patch}")
    if depth < patch.bit_length() - 1:
        raise BadOption(
            f"MultimodalUnetr needs a depth of at least {patch.bit_length() - 1} "
            f"for a patch of {patch}, not {depth}"
        )


def _lift(dims: int, width: int, channels: int, times: int) -> nn.Sequential:
    """Tokens' map up `times` times by 2, with a residual block behind each but the first."""
    steps: list[nn.Module] = [TRANSPOSED[dims](width, channels, 2, 2)]
    for _ in range(times - 1):
        steps += [
            TRANSPOSED[dims](channels, channels, 2, 2),
            ResidualBlock(dims, channels, channels),
        ]
    return nn.Sequential(*steps)
