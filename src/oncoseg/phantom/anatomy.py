"""A brain by level sets: envelope, folded cortex, ventricles, nuclei, cerebellum, stem, vessels.

Everything smooth is a signed depth on the coarse grid; sulci are the zero sheets of noise drawn on
the surface and carried inwards, so they stand upright on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from oncoseg.case import Array
from oncoseg.phantom import fields
from oncoseg.phantom.fields import capsule, ellipsoid, intersection, noise, union

TISSUES = ("outside", "csf", "gm", "wm", "nucleus", "stem", "vessel", "choroid", "lesion")
OUTSIDE, CSF, GM, WM, NUCLEUS, STEM, VESSEL, CHOROID, LESION = range(len(TISSUES))

# The lateral ventricle of one side: points (x, y, z) in mm and the radius there.
VENTRICLE = (
    ((7, 30, 6), 3.5),
    ((9, 18, 12), 5.0),
    ((11, -6, 18), 4.5),
    ((19, -28, 12), 6.5),
    ((26, -38, 2), 5.0),
    ((25, -60, 2), 1.5),
)
TEMPORAL_HORN = (((26, -36, 2), 4.0), ((32, -18, -14), 2.4), ((31, -4, -19), 1.5))
NUCLEI = (
    ((10, -14, 5), (8, 14, 8)),
    ((13, 19, 9), (5, 10, 8)),
    ((15, 0, 16), (3, 14, 5)),
    ((25, 4, 1), (5, 16, 9)),
    ((18, -2, 0), (4, 8, 6)),
)


@dataclass(frozen=True)
class Head:
    """The smooth part of an anatomy on the coarse grid: depths in mm, positive inside.

    `place` (3, *S) says which point of the template lies at each voxel.
    """

    place: Array
    brain: Array
    cerebrum: Array
    cerebellum: Array
    stem: Array
    ventricles: Array
    nuclei: Array
    atrophy: float


def placement(rng: np.random.Generator) -> Array:
    """Coordinates of the template for every voxel of the coarse grid (3, *S).

    Head size, asymmetry and smooth warps are drawn here.
    """
    axes = fields.coarse_axes()
    size = rng.normal((1.0, 0.99, 1.0), 0.035).astype(np.float32)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    warp = np.stack([2.5 * noise(rng, axes, 45) + 0.8 * noise(rng, axes, 18) for _ in range(3)])
    tilt = np.eye(3) + rng.normal(0, 0.02, (3, 3))
    grid = np.tensordot(tilt.astype(np.float32), grid, axes=1)
    return (grid + warp.astype(np.float32)) / size[:, None, None, None]


def envelope(place: Array) -> tuple[Array, Array, Array]:
    """Depths of the cerebrum, the cerebellum and the brain stem, on the coarse grid."""
    x, y, z = np.abs(place[0]), place[1], place[2]
    taper = 1 - 0.09 * ((y + 18) / 80) ** 2 - 0.05 * y / 80
    half = np.stack([x / taper, y, z])
    upper = ellipsoid(half, (0, -1, 6), (63, 80, 58))
    upper = intersection(upper, z + 20 + 0.12 * (y - 20), 4)
    temporal = ellipsoid(half, (39, 4, -18), (23, 37, 21))
    frontal = ellipsoid(half, (16, 44, -3), (26, 30, 18))
    floor = ellipsoid(place, (0, 0, -10), (20, 16, 10))
    cerebrum = union(union(union(upper, temporal, 3), frontal, 3), floor, 3)
    cerebellum = ellipsoid(half, (20, -46, -33), (29, 30, 24))
    stem = capsule(place, (0, -13, -6), (0, -29, -76), (14.0, 9.0))
    stem = union(stem, ellipsoid(place, (0, -14, -35), (16, 12, 14)), 2)
    return cerebrum, cerebellum, stem


def head(place: Array, rng: np.random.Generator) -> Head:
    """Every smooth body of the template, at the given placement."""
    half = np.stack([np.abs(place[0]), place[1], place[2]])
    cerebrum, cerebellum, stem = envelope(place)
    brain = union(union(cerebrum, cerebellum, 6), stem, 6)
    # The cisterns in front of the stem are fluid: within the brain, in none of its bodies.
    brain = union(brain, ellipsoid(place, (0, 4, -24), (24, 24, 14)), 3)
    brain = np.minimum(brain, place[2] + rng.uniform(60, 72))
    atrophy = float(rng.uniform(0, 1))
    widen = rng.normal(0.6, 0.8) + 2.2 * atrophy
    ventricles = np.full(brain.shape, -99.0, dtype=np.float32)
    for tube in (VENTRICLE, TEMPORAL_HORN):
        for (start, first), (end, second) in pairwise(tube):
            radii = np.array([first, second]) * (0.85 + 0.12 * widen)
            ventricles = np.maximum(ventricles, capsule(half, start, end, radii))
    # A thin wall keeps the two sides apart; the third and fourth ventricle lie in the middle.
    ventricles = np.minimum(ventricles, half[0] - 1.2)
    third = ellipsoid(place, (0, -6, 0), (2.0 + widen / 2, 13, 9))
    fourth = ellipsoid(place, (0, -39, -36), (6, 5, 10))
    ventricles = np.maximum(np.maximum(ventricles, third), fourth)
    nuclei = np.full(brain.shape, -99.0, dtype=np.float32)
    for centre, size in NUCLEI:
        nuclei = np.maximum(nuclei, ellipsoid(half, centre, size))
    return Head(place, brain, cerebrum, cerebellum, stem, ventricles, nuclei, atrophy)


def sulci(body: Head, rng: np.random.Generator) -> Array:
    """Distance in mm to the nearest sulcus on the coarse grid, not yet less its width.

    Noise is read where the ray through a voxel leaves the cerebrum.
    """
    axes = fields.coarse_axes()
    rays = np.stack(np.meshgrid(*axes, indexing="ij")) - np.array([0, -4, 4])[:, None, None, None]
    # Rays of each half start at its own middle, so gyri fan out from the white matter.
    rays[0] -= np.where(body.place[0] > 0, 18, -18)
    length = np.sqrt((rays**2).sum(0)) + 1e-3
    # Depth below a hull without a base: sulci come in from the sides, the top and the poles.
    hull = ellipsoid(body.place, (0, -1, -4), (65, 82, 68))
    stretch = 1 + np.clip(hull, -3, 30) / length
    rays = rays * np.minimum(stretch, 3)
    rays += np.stack([2.5 * noise(rng, axes, 9) for _ in range(3)])
    index = [(ray - axis[0]) / fields.STEP for ray, axis in zip(rays, axes)]
    nearest = np.full(length.shape, 99.0, dtype=np.float32)
    # No sulcus cuts into the nuclei, the insula or the midbrain.
    inner = np.clip(ellipsoid(body.place, (0, -8, 4), (36, 36, 20)), 0, None)
    for scale, depth in ((rng.uniform(6.0, 7.5), 21.0), (rng.uniform(4.2, 5.0), 12.0)):
        sheet = ndimage.map_coordinates(noise(rng, axes, scale), index, order=1, mode="nearest")
        steep = np.sqrt(sum(slope**2 for slope in np.gradient(sheet, fields.STEP)))
        reach = np.clip(depth * (1 + 0.35 * noise(rng, axes, 12)), 0, 27)
        below = np.clip(hull - reach, 0, None)
        away = np.abs(sheet) / np.maximum(steep, 0.5 * steep.mean())
        nearest = np.minimum(nearest, np.sqrt(away**2 + below**2 + inner**2))
    return np.minimum(nearest, fissures(body))


def fissures(body: Head) -> Array:
    """Distance in mm to the fissure between the hemispheres and to the Sylvian fissures."""
    x, y, z = body.place
    callosum = ellipsoid(body.place, (0, -8, 4), (40, 42, 25))
    middle = np.sqrt(x**2 + np.clip(callosum, 0, None) ** 2)
    sheet = z + 4 - 0.30 * (-y - 5)
    inner = np.clip(37 - np.abs(x), 0, None) + np.clip(-42 - y, 0, None)
    return np.minimum(middle, np.sqrt(sheet**2 + inner**2 + np.clip(y - 28, 0, None) ** 2))


def tissues(body: Head, rng: np.random.Generator, axes: fields.Axes) -> Array:
    """The tissue of every voxel on the grid of `axes`: indices into `TISSUES`, uint8."""
    width = 0.2 + 0.5 * body.atrophy
    fold = fields.upsample(sulci(body, rng), axes)
    fold -= np.clip(width * (1 + 0.5 * noise(rng, axes, 14)), 0.05, 2.0)
    depth = {
        name: fields.upsample(getattr(body, name), axes)
        for name in ("brain", "cerebrum", "cerebellum", "stem", "ventricles", "nuclei")
    }
    surface = depth["cerebrum"] - width
    ribbon = np.minimum(fold, surface)
    thick = rng.uniform(2.2, 2.8)
    tissue = np.full(ribbon.shape, CSF, dtype=np.uint8)
    small = depth["cerebellum"] - 0.5
    folia = np.abs(noise(rng, [0.3 * axes[0], axes[1], axes[2]], 1.9)) - 0.025 * np.clip(
        small, 0, 14
    )
    tissue[small > 0] = GM
    tissue[(small > 2) & (folia < 0.10 - 0.05 * (small < 4))] = CSF
    tissue[(small > 3) & (folia + 0.9 - 0.09 * small < 0.25)] = WM
    tissue[ribbon > 0] = GM
    tissue[ribbon > thick] = WM
    # Below the thalamus the stem stands free in its cistern.
    stem = depth["stem"] + 1.5 * noise(rng, axes, 6)
    cistern = (stem > -2.5) & (noise(rng, axes, 7) > -0.3) & (small < 0)
    tissue[cistern & (axes[2] < -7)] = CSF
    tissue[(stem > 0) & (axes[2] < -4)] = STEM
    tissue[(depth["nuclei"] > 0) & (ribbon > 0)] = NUCLEUS
    lesions(tissue, depth["ventricles"], rng, axes)
    tissue[depth["ventricles"] > 0] = CSF
    vessels(tissue, depth, rng, axes)
    rough = 0.6 * noise(rng, axes, 5) - 0.4
    tissue[depth["brain"] + rough < 0] = OUTSIDE
    return tissue


def lesions(tissue: Array, ventricles: Array, rng: np.random.Generator, axes: fields.Axes) -> None:
    """Age-related bright spots of white matter near the ventricles, in some heads."""
    burden = rng.uniform(-1.5, 1.0)
    spots = noise(rng, axes, 4) + np.clip(-ventricles, 0, 30) / 7
    tissue[(tissue == WM) & (spots < -1.6 + burden)] = LESION


def vessels(
    tissue: Array, depth: dict[str, Array], rng: np.random.Generator, axes: fields.Axes
) -> None:
    """Veins and arteries: threads in the fluid, the sagittal sinus, and choroid plexus."""
    first, second = noise(rng, axes, 6), noise(rng, axes, 7)
    thread = (np.abs(first) < 0.22) & (np.abs(second) < 0.22) & (depth["ventricles"] < -3)
    tissue[thread & (tissue == CSF)] = VESSEL
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    sinus = (np.abs(x) < 2.5) & (depth["brain"] < 5) & (y < 20) & (z > 0)
    sinus &= tissue == CSF
    tissue[sinus & (first > -0.8)] = VESSEL
    plexus = (depth["ventricles"] > 1.5) & (depth["ventricles"] < 4) & (y < -8) & (first > 1.3)
    tissue[plexus & (np.abs(x) > 8)] = CHOROID
