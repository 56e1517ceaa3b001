"""Does a probability of 0.8 come true in 8 of 10 voxels: which voxels, and in which bins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.blocks.overlap import check
from oncoseg.blocks.surface import bounds
from oncoseg.case import Array
from oncoseg.errors import BadData, BadOption

MARGIN_MM = 10.0
BINS = 15
ROUNDING = 1e-5  # float32 must not decide in which bin a claim right at an edge falls


def checked(margin_mm: float, bins: int = 1) -> None:
    """Raises `BadOption` for a margin below zero, or no bin."""
    if not margin_mm >= 0:
        raise BadOption(f"option 'margin_mm' takes 0 or more, or inf, not {margin_mm}")
    if bins < 1:
        raise BadOption(f"option 'bins' takes 1 or more, not {bins}")


def observed(
    probability: Array, truth: Array, spacing: Sequence[float], margin_mm: float = MARGIN_MM
) -> tuple[Array, Array]:
    """Probability (*S) and mask (*S) -> both (N,) in the voxels that count, float64 and bool.

    Those within `margin_mm` of the box around the truth and what is probable (0.5 or more): far
    background is easy, and swamps all else. All voxels if that box is empty, or the margin
    infinite. Voxels of which the probability is NaN never count. Raises `BadData` on what is no
    probability, or no boolean mask.
    """
    check(truth, truth, spacing)
    if probability.dtype.kind != "f" or probability.shape != truth.shape:
        kinds = f"{probability.dtype} {probability.shape} and {truth.dtype} {truth.shape}"
        raise BadData(f"a probability and a mask to compare are {kinds}; give floats on one grid")
    if np.isinf(margin_mm):
        box: tuple[slice, ...] = (slice(None),) * truth.ndim
    else:
        box = _grown(truth | (probability >= 0.5), spacing, margin_mm)
    values, true = probability[box].ravel().astype(np.float64), truth[box].ravel()
    there = ~np.isnan(values)
    values, true = values[there], true[there]
    if len(values) and not (values.min() >= 0 and values.max() <= 1):
        ends = f"{values.min():.4g} to {values.max():.4g}"
        raise BadData(f"a probability goes from {ends}; give values from 0 to 1")
    return values, true


def _grown(mask: Array, spacing: Sequence[float], margin_mm: float) -> tuple[slice, ...]:
    if not mask.any():
        return (slice(None),) * mask.ndim
    reach = [int(margin_mm / length + 1e-6) for length in spacing]
    return tuple(
        slice(max(0, edge.start - by), edge.stop + by) for edge, by in zip(bounds(mask), reach)
    )


def confidence(probability: Array, true: Array, *, classwise: bool) -> tuple[Array, Array]:
    """What is claimed and whether it came true (N,).

    Of the more probable of both answers, or `classwise` of the region alone.
    """
    if classwise:
        return probability, true
    return np.maximum(probability, 1 - probability), (probability >= 0.5) == true


def auroc(sure: Array, right: Array) -> float:
    """The chance that a voxel that is right is surer than one that is wrong; ties count half.

    1 if every voxel is right, 0 if all are wrong, NaN if there is none.
    """
    _, place = np.unique(sure, return_inverse=True)
    size = int(place.max(initial=-1)) + 1
    good, bad = (np.bincount(place[which], minlength=size) for which in (right, ~right))
    pairs = float(good.sum()) * float(bad.sum())
    if not pairs:
        return float(right.all()) if len(right) else float("nan")
    surer = good.sum() - np.cumsum(good)
    return float(np.sum(bad * (surer + good / 2)) / pairs)


def binned(claimed: Array, right: Array, bins: int) -> Array:
    """(bins, 3): voxels, sum of what is claimed, number that came true.

    Bin b holds what is above b / bins, up to and with (b + 1) / bins; the first one holds 0 too.
    """
    place = np.clip(np.ceil(claimed * bins - ROUNDING).astype(np.int64) - 1, 0, bins - 1)
    columns = (None, claimed, right.astype(np.float64))
    return np.stack([np.bincount(place, column, minlength=bins) for column in columns], axis=1)


def levelled(claimed: Array, right: Array, bins: int) -> Array:
    """As `binned`, but each bin holds as many voxels; equal claims are shared out evenly."""
    values, place, counts = np.unique(claimed, return_inverse=True, return_counts=True)
    hits = np.bincount(place, right.astype(np.float64))
    rank = np.concatenate([[0], np.cumsum(counts)])
    sums = [np.concatenate([[0.0], np.cumsum(each)]) for each in (counts, counts * values, hits)]
    edges = np.linspace(0, len(claimed), bins + 1)
    return np.stack([np.diff(np.interp(edges, rank, each)) for each in sums], axis=1)


def gaps(table: Array) -> Array:
    """|share that came true - mean claim| of each bin that holds a voxel."""
    table = table[table[:, 0] > 0]
    return np.abs(table[:, 2] - table[:, 1]) / table[:, 0]
