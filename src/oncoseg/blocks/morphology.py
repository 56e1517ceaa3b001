"""Shape of a mask in numbers, as the Image Biomarker Standardization Initiative defines them.

Volume, area and hull are those of the marching-cubes surface, which is closed beyond the edge of
the image; axes are those of the ellipsoid with the covariance of voxel centres (over N - 1, as the
reference values have it).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import ConvexHull

from oncoseg.blocks.calipers import longest
from oncoseg.blocks.marching_cubes import areas, cell_codes, fractions
from oncoseg.blocks.surface import bounds
from oncoseg.case import Array, Grid

TERMS = 21  # of a series for the area of an ellipsoid, as in the standard


def morphology(mask: Array, grid: Grid) -> dict[str, float]:
    """A mask (X, Y, Z) that is not empty -> each feature of its shape by name.

    In mm, mm² and mm³ (`unit_of`); the box lies along the grid's axes. What would divide by the
    length of an axis that is 0, as of a mask in one plane, is left out.
    """
    box = bounds(mask)
    padded = np.pad(mask[box], 1)
    frame = np.linalg.qr(grid.affine[:3, :3])[1]  # index -> orthonormal axes, sheared grids too
    volume, surface = mesh(padded, grid)
    points = vertices(padded) @ frame.T
    return {
        "mesh volume": volume,
        "voxel volume": int(np.count_nonzero(mask[box])) * grid.voxel_volume,
        "surface area": surface,
        **_roundness(volume, surface),
        "maximum 3-D diameter": longest(points)[0],
        **_axes(mask[box], frame, volume, surface),
        **_densities(points, volume, surface),
    }


def unit_of(name: str) -> str:
    """The unit of a feature by its name, "" for ratios."""
    if name in ("mesh volume", "voxel volume"):
        return "mm³"
    if name == "surface area":
        return "mm²"
    if name == "surface to volume ratio":
        return "1/mm"
    return "mm" if name.endswith(("diameter", "length", "shift")) else ""


def mesh(padded: Array, grid: Grid) -> tuple[float, float]:
    """A mask (X, Y, Z) with an empty margin -> mm³ and mm² of its marching-cubes surface."""
    counts = np.bincount(cell_codes(padded).ravel(), minlength=256)
    return float(counts @ fractions()) * grid.voxel_volume, float(counts @ areas(grid.spacing))


def vertices(padded: Array) -> Array:
    """Vertices of the surface that may be corners of its hull (N, 3), in index coordinates.

    They lie half-way between a voxel inside and one outside; on each line along the last axis only
    the two outermost of a kind are kept.
    """
    points = []
    for axis in range(3):
        low, high = (np.moveaxis(padded, axis, 0)[part] for part in (slice(-1), slice(1, None)))
        crossed = np.moveaxis(low != high, 0, axis)
        lines = np.argwhere(crossed.any(axis=2))
        kept = crossed[tuple(lines.T)]
        last = kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
        found = [np.column_stack([lines, ends]) for ends in (kept.argmax(axis=1), last)]
        points.append(np.concatenate(found) + 0.5 * np.eye(3)[axis])
    return np.concatenate(points)


def _roundness(volume: float, surface: float) -> dict[str, float]:
    """How the surface compares with that of a sphere of the same volume."""
    sphere = (36 * math.pi * volume**2) ** (1 / 3)
    return {
        "surface to volume ratio": surface / volume,
        "compactness 1": volume / (math.sqrt(math.pi) * surface**1.5),
        "compactness 2": 36 * math.pi * volume**2 / surface**3,
        "spherical disproportion": surface / sphere,
        "sphericity": sphere / surface,
        "asphericity": surface / sphere - 1,
    }


def _axes(mask: Array, frame: Array, volume: float, surface: float) -> dict[str, float]:
    """Lengths of the principal axes, and densities in the ellipsoid that has them."""
    points = np.argwhere(mask)
    spread = np.cov(points.T) if len(points) > 1 else np.zeros((3, 3))
    found = 4 * np.sqrt(np.clip(np.linalg.eigvalsh(frame @ spread @ frame.T)[::-1], 0, None))
    major, minor, least = (float(one) if one > 1e-6 else 0.0 for one in found)
    values = {
        "major axis length": major,
        "minor axis length": minor,
        "least axis length": least,
    }
    if major:
        values |= {"elongation": minor / major, "flatness": least / major}
    if least:
        values["volume density (ellipsoid)"] = 6 * volume / (math.pi * major * minor * least)
        values["area density (ellipsoid)"] = surface / _ellipsoid(major / 2, minor / 2, least / 2)
    return values


def _ellipsoid(a: float, b: float, c: float) -> float:
    """What the standard takes for the area of an ellipsoid with semi-axes a >= b >= c.

    4 pi a b sum_n (alpha beta)^n P_n((alpha² + beta²) / (2 alpha beta)) / (1 - 4 n²), with
    alpha² = 1 - b²/a² and beta² = 1 - c²/a². The area itself has 1 - c²/b² for alpha². Each term is
    made from the two before it, without dividing, as alpha may be 0.
    """
    alpha, beta = 1 - (b / a) ** 2, 1 - (c / a) ** 2  # squared
    before, term, total = 0.0, 1.0, 1.0
    for n in range(1, TERMS):
        last = (n - 1) * alpha * beta * before
        before, term = term, ((2 * n - 1) * (alpha + beta) / 2 * term - last) / n
        total += term / (1 - 4 * n**2)
    return 4 * math.pi * a * b * total


def _densities(points: Array, volume: float, surface: float) -> dict[str, float]:
    """The part of the axis-aligned box and of the convex hull that is filled, and of their area."""
    x, y, z = np.ptp(points, axis=0)
    hull = ConvexHull(points)
    return {
        "volume density (box)": float(volume / (x * y * z)),
        "area density (box)": float(surface / (2 * (x * y + y * z + z * x))),
        "volume density (convex hull)": float(volume / hull.volume),
        "area density (convex hull)": float(surface / hull.area),
    }
