"""How images look to a network, in some dozens of numbers, and how unlike the training's one is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from oncoseg.blocks.modalities import spoken
from oncoseg.case import Array

Appearance = Mapping[str, Sequence[float]]  # modality -> `appearance` of its image

LEVELS = np.linspace(0.005, 0.995, 17)
SCALES = 3
PARTS = 3  # an axis
SIDE = 64  # voxels an axis that values are drawn from, at least, where there are more
ROWS, SLABS = 8, 8
LEAST = 9  # cases: a sound scan is then called unlike once in ten times at most
MOST = 200  # cases that a model remembers
BOUND = 1e6
ALARM = 0.05  # of scans like the training's, the share that is called unlike it


def appearance(image: Array, present: Array) -> list[float]:
    """Normalised image (*S) and where the scan covers it -> what is told by `aspects`.

    In this order: quantiles of its values, where it is not 0; the logarithm of the mean difference
    of neighbours, beside the range of values, along each axis at voxels of one, two and four times
    the size; the logarithm of the share that is not 0, and the mean of each third of each third of
    each axis. Histograms alone find most of what is unlike (Frolova 2022, arXiv 2212.06506); that
    the rest stands for sharpness, noise and layout is ours.
    """
    sparse = tuple(slice(None, None, max(1, size // SIDE)) for size in image.shape)
    values, there = image[sparse].astype(np.float32), present[sparse]
    inside = values[there & (values != 0)]
    levels = np.quantile(inside, LEVELS) if inside.size else np.zeros(len(LEVELS))
    detail = _detail(image) / max(levels[-1] - levels[0], 1e-6)
    filled = np.log(inside.size / values.size + 1e-3)
    means = [values[box].mean() for box in _parts(values.shape)]
    found = np.concatenate([levels, np.log(detail.ravel() + 1e-4), [filled], means])
    return [round(float(number), 4) for number in np.clip(found, -BOUND, BOUND)]


def _detail(image: Array) -> Array:
    """Mean difference of neighbours (scales, axes) in slabs along the first axis."""
    sums, counts = np.zeros((2, SCALES, image.ndim))
    starts = range(0, max(1, len(image) - ROWS + 1), ROWS)
    for place in np.unique(np.linspace(0, len(starts) - 1, SLABS).round().astype(int)):
        slab = image[starts[place] :][:ROWS].astype(np.float32)
        for scale in range(SCALES):
            for axis in range(image.ndim):
                apart = np.abs(np.diff(slab, axis=axis))
                sums[scale, axis] += apart.sum()
                counts[scale, axis] += apart.size
            slab = _halved(slab)
    return np.asarray(sums / np.maximum(counts, 1))


def _halved(array: Array) -> Array:
    """Means of two along every axis that has four or more."""
    for axis, size in enumerate(array.shape):
        if size >= 4:
            rows = np.moveaxis(array, axis, 0)
            even = size - size % 2
            array = np.moveaxis((rows[0:even:2] + rows[1:even:2]) / 2, 0, axis)
    return array


def _parts(shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Thirds of each axis; of fewer than three voxels, one each."""
    for place in product(range(PARTS), repeat=len(shape)):
        starts = [part * size // PARTS for part, size in zip(place, shape)]
        stops = [(part + 1) * size // PARTS for part, size in zip(place, shape)]
        yield tuple(slice(low, max(low + 1, high)) for low, high in zip(starts, stops))


def aspects(dims: int) -> dict[str, slice]:
    """What the numbers of `appearance` say."""
    shades, detail = len(LEVELS), SCALES * dims
    return {
        "shades": slice(0, shades),
        "sharpness or noise": slice(shades, shades + detail),
        "layout": slice(shades + detail, 1 + shades + detail + PARTS**dims),
    }


def remembered(every: Sequence[Appearance]) -> list[dict[str, list[float]]]:
    """Those of a training that its model holds: all, or evenly drawn from them."""
    places = np.linspace(0, len(every) - 1, min(len(every), MOST)).round().astype(int)
    return [{name: list(one) for name, one in every[place].items()} for place in places]


def unlikeness(every: Sequence[Appearance], new: Appearance, dims: int) -> dict[str, Any]:
    """How unlike the training's cases a new one is: `share` of the `cases` that are less so.

    Cases are those with all modalities of the new one. The score is the Mahalanobis distance from
    the mean of all and the new one together, so no case is told from the others; if the new one is
    drawn as they were, it is `odd`, which is to say among the last twentieth (the last one, of
    fewer than 19), with a probability of no more than that, whatever the distribution (conformal
    prediction: Vovk 2005). `modalities` and `aspects` name what is odd by itself. Of fewer than
    `LEAST` cases, `cases` alone is told. Raises `ValueError` on what is no table of numbers.
    """
    names = list(new)
    rows = [[one[name] for name in names] for one in every if set(names) <= one.keys()]
    if len(rows) < LEAST:
        return {"cases": len(rows)}
    table = np.array([*rows, [new[name] for name in names]])  # (cases + 1, modalities, numbers)
    if not (np.abs(table) <= BOUND).all():
        raise ValueError(f"numbers beyond {BOUND:g}")
    share = _below(table)
    if not _odd(share, len(rows)):
        return {"cases": len(rows), "share": round(share, 4), "odd": False}
    parts = aspects(dims).items()
    worse = [name for at, name in enumerate(names) if _odd(_below(table[:, at]), len(rows))]
    return {
        "cases": len(rows),
        "share": round(share, 4),
        "odd": True,
        "modalities": worse if len(worse) < len(names) else [],
        "aspects": [name for name, part in parts if _odd(_below(table[..., part]), len(rows))],
    }


def warning(told: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence on what `unlikeness` found, none where it is not odd."""
    if not told.get("odd"):
        return ()
    which = f", above all {', '.join(spoken(told['modalities']))}," if told["modalities"] else ""
    where = f" in {', '.join(told['aspects'])}" if told["aspects"] else ""
    some = f"{100 * told['share']:.0f} % of" if told["share"] < 1 else "all"
    sentence = (
        f"This scan{which} is unlike those the model learned from{where}: more so than {some} its "
        f"{told['cases']} training scans are unlike the rest. Expect errors."
    )
    return (sentence,)


def _odd(share: float, cases: int) -> bool:
    """Whether so large a share of the cases are less unlike as is rare."""
    as_unlike = (1 - share) * cases + 1
    return as_unlike / (cases + 1) <= max(ALARM, 1 / (cases + 1)) + 1e-9


def _below(table: Array) -> float:
    """The share of the rows before the last one whose distance is less than that of the last."""
    flat = table.reshape(len(table), -1)
    centred = flat - flat.mean(0)
    spread = centred.std(0)
    scaled = centred / np.where(spread > 1e-9, spread, 1)
    distance = np.einsum("ij,ij->i", scaled @ np.linalg.inv(_covariance(scaled)), scaled)
    return float(np.mean(distance[:-1] < distance[-1] * (1 - 1e-9)))


def _covariance(rows: Array) -> Array:
    """Of centred rows, drawn to a multiple of the identity as far as is best (Ledoit-Wolf 2004)."""
    count, size = rows.shape
    plain = rows.T @ rows / count
    mean = max(float(np.trace(plain)) / size, 1e-6)
    target = mean * np.eye(size)
    apart = float(((plain - target) ** 2).sum())
    squared = float(((rows**2).sum(1) ** 2).sum()) / count - float((plain**2).sum())
    weight = min(1.0, max(1e-6, squared / count / apart)) if apart > 0 else 1.0
    return np.asarray(weight * target + (1 - weight) * plain)
