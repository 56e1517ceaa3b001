"""Pictures of masks as lit, translucent surfaces: parallel rays that stop at the first surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from oncoseg.case import Array

LIGHT = np.array([-0.45, 0.55, 0.7])  # from over the viewer's left shoulder: right, up, towards


@dataclass(frozen=True)
class Surface:
    """A smoothed mask: `field` (X, Y, Z) on axes to the right, front and head.

    `spacing` and `origin` (mm) place its voxel centres; `colour` is 0..1 a channel; `opacity` holds
    that of surface seen face on, and at grazing angles.
    """

    field: Array
    spacing: Array
    origin: Array
    colour: tuple[float, float, float]
    opacity: tuple[float, float]

    @property
    def corners(self) -> Array:
        """The eight corners of its box in mm (8, 3)."""
        ends = np.array(self.field.shape) - 1
        index = np.indices((2, 2, 2)).reshape(3, -1).T * ends
        return self.origin + index * self.spacing


def surface(
    mask: Array,
    spacing: Sequence[float] | Array,
    step_mm: float,
    colour: tuple[float, float, float],
    opacity: tuple[float, float],
) -> Surface:
    """Crop a mask (X, Y, Z) to its box, average it to voxels of about `step_mm`, and smooth it."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    times = [max(1, round(step_mm / size)) for size in spacing]
    cropped = mask[box]
    short = [-size % factor for size, factor in zip(cropped.shape, times)]
    padded = np.pad(cropped, [(2 * f, s + 2 * f) for f, s in zip(times, short)])
    blocks = [part for size, f in zip(padded.shape, times) for part in (size // f, f)]
    coarse = padded.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)
    steps = np.array(spacing) * times
    field = ndimage.gaussian_filter(coarse, 0.8 * min(steps) / steps)
    begin = np.array([side.start for side in box]) - 2 * np.array(times)
    origin = (begin + (np.array(times) - 1) / 2) * spacing
    return Surface(field, steps, origin, colour, opacity)


def width_of(surfaces: Sequence[Surface], views: Sequence[tuple[float, float]]) -> float:
    """Width in mm of the smallest square picture that holds every surface in all the views."""
    centre = _centre(surfaces)
    points = np.concatenate(
        [item.origin + np.argwhere(item.field > 0.5) * item.spacing - centre for item in surfaces]
    )
    frames = [_frame(np.radians(azimuth), np.radians(lift))[:2] for azimuth, lift in views]
    return 2.06 * float(max(np.abs(points @ frame.T).max(initial=1.0) for frame in frames))


def render(
    surfaces: Sequence[Surface], azimuth: float, elevation: float, pixel_mm: float, width_mm: float
) -> Array:
    """Square picture (N, N, 4) uint8 RGBA, transparent outside, of what a viewer sees.

    Angles in degrees: 0, 0 looks from the front, azimuth 90 from the patient's left, elevation 90
    from the head.
    """
    frame = _frame(np.radians(azimuth), np.radians(elevation))
    centre = _centre(surfaces)
    count = round(width_mm / pixel_mm)
    layers = [_seen(item, frame, centre, pixel_mm, count) for item in surfaces]
    distance = np.stack([layer[0] for layer in layers])
    rgba = np.stack([layer[1] for layer in layers])
    order = np.argsort(-distance, axis=0)  # farthest first
    colour, alpha = np.zeros((count, count, 3)), np.zeros((count, count, 1))
    for rank in order:
        layer = np.take_along_axis(rgba, rank[None, ..., None], axis=0)[0]
        above = layer[..., 3:]
        colour = layer[..., :3] * above + colour * (1 - above)
        alpha = above + alpha * (1 - above)
    picture = np.concatenate([colour / np.maximum(alpha, 1e-6), alpha], axis=-1)
    return (picture * 255).round().astype(np.uint8)


def _centre(surfaces: Sequence[Surface]) -> Array:
    everything = np.concatenate([item.corners for item in surfaces])
    return (everything.min(axis=0) + everything.max(axis=0)) / 2


def _frame(azimuth: float, elevation: float) -> Array:
    """Rows: unit vectors to the right and top of the picture and towards the viewer, in RAS."""
    right = np.array([-np.cos(azimuth), -np.sin(azimuth), 0])
    ahead = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
    up = np.array([0, 0, 1.0])
    towards = np.cos(elevation) * ahead + np.sin(elevation) * up
    return np.array([right, np.cos(elevation) * up - np.sin(elevation) * ahead, towards])


def _seen(
    item: Surface, frame: Array, centre: Array, pixel_mm: float, count: int
) -> tuple[Array, Array]:
    """Distance from the viewer (N, N; infinite where nothing is hit) and RGBA (N, N, 4) in 0..1."""
    distance, rgba = np.full((count, count), np.inf), np.zeros((count, count, 4))
    seen = (item.corners - centre) @ frame.T
    low, high = seen.min(axis=0), seen.max(axis=0)
    step = float(item.spacing.min())
    edges = np.array([[low[0], -high[1]], [high[0], -low[1]]]) / pixel_mm + count / 2
    (left, top), (right, bottom) = np.clip(edges.round(), 0, count).astype(int)
    size = (bottom - top, right - left, int((high[2] - low[2]) / step) + 2)
    moves = np.stack([-frame[1] * pixel_mm, frame[0] * pixel_mm, -frame[2] * step], axis=1)
    corner = np.array([left + 0.5 - count / 2, count / 2 - top - 0.5]) * pixel_mm
    start = centre + corner[0] * frame[0] + corner[1] * frame[1] + high[2] * frame[2]
    matrix = moves / item.spacing[:, None]
    offset = (start - item.origin) / item.spacing
    ray = ndimage.affine_transform(item.field, matrix, offset, size, order=1, prefilter=False)
    inside = ray > 0.5
    rows, columns = np.nonzero(inside.any(axis=2))
    first = inside[rows, columns].argmax(axis=1)
    here = ray[rows, columns, first]
    before = ray[rows, columns, np.maximum(first - 1, 0)]
    hit = first - np.where(first > 0, (here - 0.5) / np.maximum(here - before, 1e-6), 0)
    points = matrix @ np.array([rows, columns, hit]) + offset[:, None]
    slopes = [
        ndimage.map_coordinates(slope, points, order=1)
        for slope in np.gradient(item.field, *item.spacing)
    ]
    normal = frame @ -np.array(slopes)
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-6)
    distance[rows + top, columns + left] = hit * step - high[2]
    rgba[rows + top, columns + left] = _lit(normal, item)
    return distance, rgba


def _lit(normal: Array, item: Surface) -> Array:
    """Normals (3, hits) in the viewer's frame -> RGBA (hits, 4): diffuse, highlight, and rims."""
    light = LIGHT / np.linalg.norm(LIGHT)
    half = light + np.array([0, 0, 1])
    half = half / np.linalg.norm(half)
    diffuse = np.clip(light @ normal, 0, 1)
    shine = np.clip(half @ normal, 0, 1) ** 30
    rim = (1 - np.clip(normal[2], 0, 1)) ** 2
    colour = np.array(item.colour)[None] * (0.42 + 0.62 * diffuse)[:, None] + 0.22 * shine[:, None]
    alpha = item.opacity[0] + (item.opacity[1] - item.opacity[0]) * rim
    return np.column_stack([np.clip(colour, 0, 1), alpha])
