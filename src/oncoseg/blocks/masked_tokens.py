"""Masked tokens of several modalities: which stay visible, and the decoder that puts them back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Dirichlet

from oncoseg.blocks.norm import LayerNorm
from oncoseg.blocks.vit import VitBlock, sincos_positions

DRAWS = 256


def visible_count(tokens: int, masked: float) -> int:
    """How many of an item's tokens stay visible if a share `masked` does not: at least one."""
    return max(1, int(tokens * (1 - masked) + 1e-9))


def draw_visible(there: Tensor, masked: float) -> Tensor:
    """Which of the tokens that are there (B, M, N) stay visible, by torch's global generator.

    An item's visible tokens are divided among its modalities by a flat Dirichlet draw, drawn again
    where it gives a modality more tokens than it has; within a modality all are equally likely.
    """
    chances = torch.rand(there.shape).masked_fill(~there.cpu(), -1)
    ranks = chances.argsort(dim=2, descending=True).argsort(dim=2)
    counts = torch.stack([_divided(own, masked) for own in there.sum(2).cpu()])
    return (ranks < counts.unsqueeze(-1)).to(there.device) & there


def _divided(own: Tensor, masked: float) -> Tensor:
    """How many of its tokens `own` (M,) each modality keeps: their sum is exact."""
    total = int(own.sum())
    if not total:
        return torch.zeros_like(own)
    count, filled = visible_count(total, masked), own > 0
    share = torch.zeros(DRAWS + 1, len(own))
    share[:-1, filled] = Dirichlet(torch.ones(int(filled.sum()))).sample((DRAWS,))
    share[-1] = own / total  # even, and so always possible
    wanted = share.double() * count
    fits = (wanted[:-1] <= own).all(1).nonzero()
    chosen = wanted[int(fits[0]) if len(fits) else DRAWS]
    whole = chosen.floor().long()
    rest = (chosen - whole).masked_fill(whole >= own, -1).argsort(descending=True)
    whole[rest[: count - int(whole.sum())]] += 1
    return whole


def first_visible(visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Visible (B, L) -> all places, visible ones first (B, L); the first K; which of them are.

    K is the most that any item has.
    """
    order = (~visible).int().argsort(dim=1, stable=True)
    kept = order[:, : int(visible.sum(1).max())]
    return order, kept, visible.gather(1, kept)


class Reconstruction(nn.Module):
    """The light decoder: mask tokens in the hidden places, some blocks, each token's voxels."""

    def __init__(
        self, names: Sequence[str], inputs: int, width: int, volume: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        self.embed, self.predict = nn.Linear(inputs, width), nn.Linear(width, volume)
        self.mask = nn.Parameter(torch.randn(width) * 0.02)
        self.names = nn.ParameterDict({n: nn.Parameter(torch.randn(width) * 0.02) for n in names})
        self.blocks = nn.ModuleList(VitBlock(width, heads) for _ in range(depth))
        self.norm = LayerNorm(width)

    def forward(
        self, state: Tensor, real: Tensor, order: Tensor, there: Tensor, grid: Sequence[int]
    ) -> Tensor:
        """State (B, 1 + K, inputs), class token first, of the tokens `order` (B, M N) begins with.

        `real` (B, K) says which of these were shown, `there` (B, M, N) which may be attended.
        """
        state = self.embed(state)
        shown = torch.where(real.unsqueeze(-1), state[:, 1:], self.mask)
        hidden = self.mask.expand(len(shown), order.shape[1] - shown.shape[1], -1)
        place = order.argsort(dim=1).unsqueeze(-1).expand(-1, -1, shown.shape[2])
        every = torch.cat([shown, hidden], dim=1).gather(1, place)
        codes = sincos_positions(grid, every.shape[2], every.device)
        names = torch.stack(list(self.names.values()))
        every = every + (names.unsqueeze(1) + codes).flatten(0, 1)
        every = torch.cat([state[:, :1], every], dim=1)
        attended = F.pad(there.flatten(1), (1, 0), value=True)
        for block in self.blocks:
            every = block(every, attended)
        answer: Tensor = self.predict(self.norm(every[:, 1:])).unflatten(1, there.shape[1:])
        return answer
