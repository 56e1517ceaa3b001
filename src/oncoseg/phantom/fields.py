"""Smooth fields on a head: separable resampling, noise, signed depths of simple bodies.

Coordinates are millimetres in RAS from the middle of the head. A resampling is one matrix an axis,
so every field is a few matrix products, and noise is a function of space: one seed makes one head,
whatever the grid it is sampled on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncoseg.case import Array

Axes = Sequence[Array]
Vector = Sequence[float] | Array
EXTENT = (80.0, 98.0, 82.0)
STEP = 2.0


def coarse_axes() -> list[Array]:
    """The coordinates of the coarse grid on which smooth fields are worked out, one array an axis.

    They are in mm.
    """
    return [np.arange(-half, half + STEP / 2, STEP, dtype=np.float32) for half in EXTENT]


def resample(field: Array, matrices: Sequence[Array]) -> Array:
    """Apply one (to, from) matrix along each axis of a 3-D field."""
    for matrix in matrices:
        # The first axis is contracted and comes back last: after three turns they stand in order.
        flat = field.reshape(field.shape[0], -1).T @ matrix.T
        field = flat.reshape(*field.shape[1:], matrix.shape[0])
    return field


def spline(at: Array, nodes: Array) -> Array:
    """(at, nodes): weights of cubic B-splines on equally spaced nodes; they sum to one."""
    far = np.abs(at[:, None] - nodes[None]) / (nodes[1] - nodes[0])
    near = (4 - 6 * far**2 + 3 * far**3) / 6
    weight = np.where(far < 1, near, np.clip(2 - far, 0, None) ** 3 / 6)
    return (weight / np.maximum(weight.sum(1, keepdims=True), 1e-6)).astype(np.float32)


def cubic(at: Array, nodes: Array) -> Array:
    """(at, nodes): weights of cubic interpolation (Catmull-Rom) between equally spaced nodes."""
    far = np.abs(at[:, None] - nodes[None]) / (nodes[1] - nodes[0])
    near = 1.5 * far**3 - 2.5 * far**2 + 1
    outer = -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2
    weight = np.where(far < 1, near, np.where(far < 2, outer, 0))
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def gaussian(at: Array, nodes: Array, sigma_mm: float) -> Array:
    """(at, nodes): weights of a Gaussian of `sigma_mm`; they sum to one."""
    weight = np.exp(-0.5 * ((at[:, None] - nodes[None]) / sigma_mm) ** 2)
    return (weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)).astype(np.float32)


def blur(field: Array, axes: Axes, sigma_mm: float) -> Array:
    """Gaussian smoothing on the grid of `axes`."""
    floor = [max(sigma_mm, 0.3 * abs(float(axis[1] - axis[0]))) for axis in axes]
    return resample(
        field.astype(np.float32), [gaussian(axis, axis, s) for axis, s in zip(axes, floor)]
    )


def upsample(field: Array, axes: Axes) -> Array:
    """A field of the coarse grid, on the grid of `axes`."""
    return resample(field, [cubic(at, nodes) for at, nodes in zip(axes, coarse_axes())])


def noise(rng: np.random.Generator, axes: Axes, scale_mm: float) -> Array:
    """Smooth Gaussian noise of unit variance; its zeros are about 2.7 `scale_mm` apart."""
    nodes = [np.arange(-half - 2 * scale_mm, half + 3 * scale_mm, scale_mm) for half in EXTENT]
    values = rng.standard_normal([len(node) for node in nodes], dtype=np.float32)
    return resample(values / 0.33, [spline(at, node) for at, node in zip(axes, nodes)])


def ellipsoid(place: Array, centre: Vector, radii: Vector) -> Array:
    """Depth in mm below the surface of an ellipsoid (negative outside), nearly a distance.

    `place` (3, *S) holds coordinates.
    """
    r = np.asarray(radii, dtype=np.float32)
    d = [(p - c) / k for p, c, k in zip(place, centre, r)]
    k0 = np.sqrt(d[0] ** 2 + d[1] ** 2 + d[2] ** 2)
    k1 = np.sqrt((d[0] / r[0]) ** 2 + (d[1] / r[1]) ** 2 + (d[2] / r[2]) ** 2)
    return (1 - k0) * (k0 + 1e-3) / (k1 + 1e-3 / float(r.min()))


def capsule(place: Array, start: Vector, end: Vector, radii: Vector) -> Array:
    """Depth in mm below the surface of a straight tube whose radius runs from one to the other."""
    a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
    axis = b - a
    length = float(axis @ axis)
    along = np.clip(sum((p - s) * v for p, s, v in zip(place, a, axis)) / length, 0, 1)
    far = sum((p - s - along * v) ** 2 for p, s, v in zip(place, a, axis))
    return radii[0] + along * (radii[1] - radii[0]) - np.sqrt(far)


def union(first: Array, second: Array, round_mm: float = 3.0) -> Array:
    """Depth below the surface of two bodies together, their seam rounded."""
    return np.logaddexp(first / round_mm, second / round_mm) * round_mm


def intersection(first: Array, second: Array, round_mm: float = 3.0) -> Array:
    """Depth below the surface of what two bodies share, its edge rounded."""
    return -union(-first, -second, round_mm)


def largest(field: Array, where: Array, count: int) -> Array:
    """Mask of the `count` voxels of `where` at which `field` is largest (all, if fewer)."""
    values = field[where]
    if count >= values.size:
        return where
    return where & (field >= np.partition(values, values.size - count)[values.size - count])
