"""Intensities of a region in numbers: statistics, histogram, intensity-volume histogram, peaks.

As the Image Biomarker Standardization Initiative defines them, https://doi.org/10.1148/radiol.2020191145
What would divide by 0 is left out, but for skewness and kurtosis, which the standard then sets 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import fft, signal

from oncoseg.blocks.surface import bounds
from oncoseg.case import Array, Grid

LARGEST = 50_000_000  # values of a spectrum, of which some five are held at a time
PEAK_MM = 10 * (3 / (4 * math.pi)) ** (1 / 3)  # radius of a sphere of 1 cm³


def statistics(values: Array) -> dict[str, float]:
    """Intensities (N,) -> first-order statistics; quantiles are interpolated linearly."""
    values = np.asarray(values, np.float64)
    energy = float(np.square(values).sum())
    return {
        **_distribution(values),
        "energy": energy,
        "root mean square": math.sqrt(energy / len(values)),
    }


def _distribution(values: Array) -> dict[str, float]:
    p10, p25, p50, p75, p90 = (float(one) for one in np.percentile(values, (10, 25, 50, 75, 90)))
    low, high, mean = float(values.min()), float(values.max()), float(values.mean())
    apart = values - mean
    variance = float(np.square(apart).mean()) if high > low else 0.0
    middle = values[(values >= p10) & (values <= p90)]
    found = {
        "mean": mean,
        "variance": variance,
        "skewness": float((apart**3).mean()) / variance**1.5 if variance else 0.0,
        "excess kurtosis": float((apart**4).mean()) / variance**2 - 3 if variance else 0.0,
        "median": p50,
        "minimum": low,
        "10th percentile": p10,
        "90th percentile": p90,
        "maximum": high,
        "interquartile range": p75 - p25,
        "range": high - low,
        "mean absolute deviation": float(np.abs(apart).mean()),
        "robust mean absolute deviation": float(np.abs(middle - middle.mean()).mean()),
        "median absolute deviation": float(np.abs(values - p50).mean()),
    }
    if mean:
        found["coefficient of variation"] = math.sqrt(variance) / mean
    if p75 + p25:
        found["quartile coefficient of dispersion"] = (p75 - p25) / (p75 + p25)
    return found


def histogram(levels: Array) -> dict[str, float]:
    """Grey levels (N,) from 1 -> features of their histogram, empty bins up to the last included.

    Of several modes the one closest to the mean counts, and of gradients that are alike the first.
    """
    counts = np.bincount(levels)[1:]
    share = counts[counts > 0] / len(levels)
    found = _distribution(levels.astype(np.float64))
    modes = np.flatnonzero(counts == counts.max()) + 1
    found |= {
        "mode": float(modes[np.abs(modes - found["mean"]).argmin()]),
        "entropy": max(0.0, float(-(share * np.log2(share)).sum())),
        "uniformity": float(np.square(share).sum()),
    }
    if len(counts) > 1:
        slope = np.gradient(counts.astype(np.float64))
        found |= {
            "maximum gradient": float(slope.max()),
            "level of the maximum gradient": float(slope.argmax() + 1),
            "minimum gradient": float(slope.min()),
            "level of the minimum gradient": float(slope.argmin() + 1),
        }
    return found


def volume_histogram(levels: Array) -> dict[str, float]:
    """Grey levels (N,) from 1 -> volumes at 10 % and 90 % of their range, and levels at volumes.

    Where no level is in so little of the volume, the level above the highest. {} if there is one
    level alone.
    """
    counts = np.bincount(levels)[1:]
    if len(counts) < 2:
        return {}
    volume = np.append(counts[::-1].cumsum()[::-1], 0) / len(levels)  # that holds a level or more
    place = np.arange(len(counts)) / (len(counts) - 1)
    low, high = (float(volume[np.argmax(place >= part - 1e-12)]) for part in (0.1, 0.9))
    few, most = (float(np.argmax(volume <= part) + 1) for part in (0.1, 0.9))
    return {
        "volume at 10 % of intensity": low,
        "volume at 90 % of intensity": high,
        "intensity at 10 % of volume": few,
        "intensity at 90 % of volume": most,
        "volume between 10 % and 90 % of intensity": low - high,
        "intensity between 10 % and 90 % of volume": few - most,
    }


def peaks(image: Array, mask: Array, grid: Grid) -> dict[str, float]:
    """Highest mean of a sphere of 1 cm³ around the voxels with the maximum, and around any voxel.

    Image and mask are (X, Y, Z); a sphere holds every finite voxel of the image whose centre is in
    it, also outside of the mask.
    """
    box = bounds(mask)
    reach = np.ceil(PEAK_MM * np.linalg.norm(np.linalg.inv(grid.affine[:3, :3]), axis=1)).astype(
        int
    )
    wide = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(box, reach))
    part, there = image[wide].astype(np.float64), mask[wide]
    known = np.isfinite(part)
    lags = np.indices(2 * reach + 1).reshape(3, -1) - reach[:, None]
    near = np.linalg.norm(grid.affine[:3, :3] @ lags, axis=0) <= PEAK_MM
    sphere = near.reshape(2 * reach + 1).astype(np.float64)
    total = signal.fftconvolve(np.where(known, part, 0.0), sphere, mode="same")
    count = np.rint(signal.fftconvolve(known.astype(np.float64), sphere, mode="same"))
    mean = (total / np.maximum(count, 1))[there]
    values = part[there]
    highest = values == values.max()
    return {
        "local intensity peak": float(mean[highest].max()),
        "global intensity peak": float(mean.max()),
    }


def too_large(shape: Sequence[int]) -> bool:
    """Whether spectra of a box of so many voxels need too much memory."""
    return math.prod(2 * size for size in shape) > LARGEST


def spatial(image: Array, mask: Array, volume: float, grid: Grid) -> dict[str, float]:
    """Where in a mask (X, Y, Z) intensities are high, and how alike near voxels are.

    `volume` is that of its mesh (mm³). Moran's I and Geary's C weigh each pair of voxels by the
    inverse of their distance; sums over all pairs are products of spectra. They are left out where
    that would need gigabytes (`too_large`).
    """
    box, frame = bounds(mask), grid.affine[:3, :3]
    there, part = mask[box], image[box].astype(np.float64)
    values, points = part[there], np.argwhere(there)
    found = {"integrated intensity": float(volume * values.mean())}
    if values.sum():
        weighted = (values[:, None] * points).sum(axis=0) / values.sum()
        shift = frame @ (weighted - points.mean(axis=0))
        found["centre of mass shift"] = float(np.linalg.norm(shift))
    if values.min() == values.max() or too_large(there.shape):
        return found
    shape = [fft.next_fast_len(2 * size - 1, real=True) for size in there.shape]
    apart = np.where(there, part - values.mean(), 0.0)
    lags = np.meshgrid(*(fft.fftfreq(n, 1 / n) for n in shape), indexing="ij", sparse=True)
    away = np.zeros(shape)
    for row in frame:  # x, then y, then z of what lies between two voxels
        away += sum(step * lag for step, lag in zip(row, lags)) ** 2
    np.sqrt(away, out=away)
    away[0, 0, 0] = np.inf
    weight = fft.rfftn(1 / away).real
    one, it, squared = (fft.rfftn(each, shape) for each in (there * 1.0, apart, apart**2))
    twice = np.full(weight.shape[-1], 2.0)  # frequencies that stand for their negatives too
    twice[0] = 1.0
    if shape[-1] % 2 == 0:
        twice[-1] = 1.0
    pairs, alike, spread = (
        float((weight * twice * (a * b.conj()).real).sum()) / math.prod(shape)
        for a, b in ((one, one), (it, it), (squared, one))
    )
    scale = float(np.square(apart).sum())
    found["Moran's I"] = len(values) / pairs * alike / scale
    found["Geary's C"] = (len(values) - 1) / (2 * pairs) * 2 * (spread - alike) / scale
    return found
