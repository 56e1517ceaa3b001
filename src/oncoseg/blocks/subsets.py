"""Statistics over whichever modalities are there, voxel by voxel or token by token."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from oncoseg.blocks.convs import LARGEST


def key(modality: str) -> str:
    """A modality's name as that of a submodule, where dots and the words of torch are taken."""
    return f"of_{modality.replace('.', '_')}"


def mean_over(features: Tensor, there: Tensor) -> Tensor:
    """Mean over axis 1, the modalities, of those that are there; 0 where none is.

    features (B, M, ...) and there (B, M, ...) of the same number of axes -> (B, ...).
    """
    share = there.to(features.dtype)
    return (features * share).sum(1) / share.sum(1).clamp_min(1)


def variance_over(features: Tensor, there: Tensor) -> Tensor:
    """Unbiased variance over axis 1 of the modalities that are there; 0 where fewer than two are.

    features (B, M, ...) and there (B, M, ...) of the same number of axes -> (B, ...).
    """
    share = there.to(features.dtype)
    spread = (features - mean_over(features, there).unsqueeze(1)).square() * share
    return spread.sum(1) / (share.sum(1) - 1).clamp_min(1)


def coarser(there: Tensor, stride: Sequence[int]) -> Tensor:
    """Presence (B, M, *S) as 0 or 1 -> (B, M, *ceil(S / stride)): 1 where any voxel is there."""
    steps = tuple(stride)
    pooled: Tensor = LARGEST[there.ndim - 2](there, steps, steps, ceil_mode=True)
    return pooled
