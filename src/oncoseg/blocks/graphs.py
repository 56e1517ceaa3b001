"""Closed contours as graphs: convolutions on rings of nodes, what is seen at them, their inside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MANY = 2**13  # pixels whose distances exist at once


def rings(counts: Sequence[int]) -> Tensor:
    """Adjacency (N, N) of closed contours of so many nodes each, in a row."""
    blocks = []
    for count in counts:
        ahead = torch.eye(count).roll(1, dims=1)
        blocks.append(((ahead + ahead.T) > 0).float())
    return torch.block_diag(*blocks)


def scaled_laplacian(adjacency: Tensor) -> Tensor:
    """2 L / 2 - I of the normalised Laplacian L, whose eigenvalues lie from -1 to 1."""
    root = adjacency.sum(1).clamp_min(1).rsqrt()
    return -root[:, None] * adjacency * root[None]


def halved(counts: Sequence[int]) -> list[int]:
    """Nodes of each contour on the coarser graph."""
    return [-(-count // 2) for count in counts]


def unpooling(counts: Sequence[int]) -> Tensor:
    """(N, coarse): every other node is one of the coarser graph, those between are midway."""
    blocks = []
    for count in counts:
        coarse = -(-count // 2)
        own = torch.eye(coarse).repeat_interleave(2, dim=0)
        between = (torch.eye(coarse) + torch.eye(coarse).roll(1, dims=1)) / 2
        own[1::2] = between
        blocks.append(own[:count])
    return torch.block_diag(*blocks)


class ChebConv(nn.Module):
    """Sum over k < `order` of T_k(L) x W_k, T the polynomials of Chebyshev (arXiv 1606.09375)."""

    def __init__(self, inputs: int, width: int, order: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(order, inputs, width))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None
        for value in self.parameters():
            nn.init.normal_(value, std=0.1)

    def forward(self, nodes: Tensor, laplacian: Tensor) -> Tensor:
        """Nodes (B, N, inputs) and a scaled Laplacian (N, N) -> (B, N, width)."""
        before, now = nodes, laplacian @ nodes
        total = before @ self.weight[0]
        for weight in self.weight[1:]:
            total = total + now @ weight
            before, now = now, 2 * laplacian @ now - before
        return total if self.bias is None else total + self.bias


def looked_up(features: Tensor, places: Tensor) -> Tensor:
    """The mean of 3 x 3 samples a pixel apart round each place, bilinear; the border goes on.

    Features (B, C, rows, columns) and places (B, N, 2) as (row, column), 0 to 1, of which 1 is just
    beyond the last pixel, -> (B, N, C). This is RoIAlign of one cell with a window of 3.
    """
    size = torch.tensor(features.shape[2:], device=places.device, dtype=places.dtype)
    steps = torch.arange(-1, 2, device=places.device, dtype=places.dtype)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).flatten(0, 1)
    index = (places * size)[:, :, None] + offsets
    # The gradient of torch's `grid_sample` writes beyond its memory where a place is no number.
    grid = ((2 * index + 1) / size - 1).flip(-1).nan_to_num(0.0)
    found = F.grid_sample(features, grid, padding_mode="border", align_corners=False)
    return found.mean(-1).transpose(1, 2)


def signed_distance(contour: Tensor, shape: Sequence[int]) -> Tensor:
    """Pixels from the nearest edge of a closed contour, positive inside (even-odd).

    Vertices (B, n, 2) as (row, column) in pixels -> (B, rows, columns). The distance has a
    gradient, where it is inside has none.
    """
    axes = [torch.arange(int(size), device=contour.device, dtype=contour.dtype) for size in shape]
    pixels = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1).split(MANY)
    again = len(pixels) > 1 and torch.is_grad_enabled()
    parts = [
        checkpoint(_distances, contour, some, use_reentrant=False)
        if again
        else _distances(contour, some)
        for some in pixels
    ]
    return torch.cat(parts, dim=1).unflatten(1, list(shape))


def _distances(contour: Tensor, pixels: Tensor) -> Tensor:
    """Vertices (B, n, 2) and pixels (M, 2) -> (B, M)."""
    start, stop = contour[:, None], contour.roll(-1, dims=1)[:, None]
    edge, seen = stop - start, pixels[None, :, None] - start
    share = ((seen * edge).sum(-1) / edge.square().sum(-1).clamp_min(1e-6)).clamp(0, 1)
    apart = (seen - share[..., None] * edge).square().sum(-1)
    nearest = (apart.amin(-1) + 1e-6).sqrt()
    above, below = start[..., 0] > pixels[:, :1], stop[..., 0] > pixels[:, :1]
    # Left of the edge, multiplied by its height so that flat edges divide nothing.
    left = seen[..., 1] * edge[..., 0] < seen[..., 0] * edge[..., 1]
    crossed = (above != below) & (left == (edge[..., 0] > 0))
    inside = crossed.sum(-1) % 2 == 1
    return torch.where(inside, nearest, -nearest)


def circle(counts: Sequence[int], radius: float = 0.25) -> Tensor:
    """Places (N, 2) of contours round the middle, from the top one on, clockwise."""
    parts = []
    for count in counts:
        angle = torch.arange(count) * (2 * math.pi / count)
        parts.append(torch.stack([0.5 - radius * angle.cos(), 0.5 + radius * angle.sin()], dim=-1))
    return torch.cat(parts)
