"""A glioma by level sets: a lobed core with rim and necrosis, oedema along white matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from oncoseg.case import Array
from oncoseg.phantom import fields
from oncoseg.phantom.anatomy import (
    CSF,
    GM,
    LESION,
    NUCLEUS,
    OUTSIDE,
    STEM,
    VESSEL,
    WM,
    Head,
    envelope,
)
from oncoseg.phantom.fields import noise

NCR, ED, ET = 1, 2, 4
KINDS = ("ring", "solid", "patchy", "silent")


@dataclass(frozen=True)
class Plan:
    """What is drawn before the anatomy: where the tumour sits and how large it is (mm, mm^3)."""

    centre: Array
    core: float
    whole: float
    kind: str
    push: float

    @property
    def radius(self) -> float:
        """Radius in mm of a ball of the core's volume."""
        return float((self.core * 3 / 4 / np.pi) ** (1 / 3))


def plan(place: Array, rng: np.random.Generator) -> Plan:
    """Draw a tumour for a head: its centre lies deep in the white matter of either hemisphere."""
    core = float(np.clip(np.exp(rng.normal(np.log(28e3), 0.7)), 5e3, 60e3))
    whole = float(np.clip(core * 1.25 + np.exp(rng.normal(np.log(58e3), 0.55)), 20e3, 150e3))
    depth = envelope(place)[0]
    x, y, z = place
    free = (depth > 12) & (np.abs(x) > 15) & (z > -18) & (y > -60)
    spots = np.argwhere(free)
    spot = spots[rng.integers(len(spots))]
    axes = fields.coarse_axes()
    centre = np.array([axis[i] for axis, i in zip(axes, spot)], dtype=np.float32)
    kind = str(rng.choice(KINDS, p=(0.5, 0.27, 0.13, 0.10)))
    return Plan(centre, core, whole, kind, float(rng.uniform(0, 0.45)))


def displace(place: Array, tumour: Plan) -> Array:
    """Mass effect: tissue makes room for the core, the less the closer to the skull (3, *S)."""
    axes = fields.coarse_axes()
    away = [axis - c for axis, c in zip(np.meshgrid(*axes, indexing="ij"), tumour.centre)]
    far = sum(d**2 for d in away) / (1.7 * tumour.radius) ** 2
    room = np.clip(envelope(place)[0] / 18, 0, 1) * tumour.push * np.exp(-far)
    return place - np.stack([room * d for d in away]).astype(np.float32)


def grow(
    tumour: Plan, body: Head, tissue: Array, rng: np.random.Generator, axes: fields.Axes
) -> Array:
    """The label of every voxel on the grid of `axes`: 0, NCR, ED or ET, uint8."""
    voxel = float(np.prod([abs(axis[1] - axis[0]) for axis in axes]))
    inside = core(tumour, body, tissue, rng, axes)
    mask = fields.largest(inside, np.isfinite(inside), int(tumour.core / voxel))
    label = np.where(mask, np.uint8(ET), np.uint8(0))
    label[mask & necrosis(tumour, inside, mask, rng, axes)] = NCR
    seep = oedema(mask, body, tissue, rng, axes)
    wet = fields.largest(seep, np.isfinite(seep) & ~mask, int((tumour.whole - tumour.core) / voxel))
    wet = fields.blur(wet | mask, axes, 1.0) > 0.5
    label[wet & ~mask & np.isfinite(seep)] = ED
    pieces, count = ndimage.label(label > 0)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    label[(sizes * voxel < 100)[pieces]] = 0
    return label


def core(
    tumour: Plan, body: Head, tissue: Array, rng: np.random.Generator, axes: fields.Axes
) -> Array:
    """How deep a voxel lies in the core, in mm, up to a constant; -inf where it cannot grow."""
    coarse = fields.coarse_axes()
    away = np.stack(np.meshgrid(*coarse, indexing="ij")) - tumour.centre[:, None, None, None]
    radius = tumour.radius
    frame = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
    away = np.tensordot(frame, away, axes=1)
    depth = np.full(away.shape[1:], -99.0, dtype=np.float32)
    for lobe in range(int(rng.integers(1, 5))):
        centre = rng.normal(0, 0.55 * radius, 3) * min(lobe, 1)
        radii = radius * rng.uniform(0.75, 1.25, 3) * (1.0 if lobe == 0 else rng.uniform(0.4, 0.8))
        depth = fields.union(depth, fields.ellipsoid(away, centre, radii), 2.0)
    depth += radius * (0.16 * noise(rng, coarse, 9) + 0.09 * noise(rng, coarse, 5))
    fine = fields.upsample(depth, axes) + 0.5 * noise(rng, axes, 2.5)
    side = float(np.sign(tumour.centre[0]))
    x = fields.upsample(body.place[0], axes) * side
    vessel_free = (tissue != OUTSIDE) & (x > -3) & (fields.upsample(body.ventricles, axes) < 0)
    return np.where(vessel_free & (fields.upsample(body.cerebrum, axes) > 0.5), fine, -np.inf)


def necrosis(
    tumour: Plan, inside: Array, mask: Array, rng: np.random.Generator, axes: fields.Axes
) -> Array:
    """Mask of the part of the core that does not enhance."""
    depth = inside - inside[mask].min()
    rough = noise(rng, axes, 5)
    fine = noise(rng, axes, 2.5)
    rim = rng.uniform(2.5, 6.5)
    if tumour.kind == "ring":
        return depth * (1 + 0.25 * fine) > rim * np.exp(0.35 * rough)
    if tumour.kind == "solid":
        return (depth > rim) & (rough + 0.6 * fine > rng.uniform(1.1, 2.4))
    if tumour.kind == "patchy":
        return (depth > 2) & (rough + 0.5 * fine > rng.uniform(-0.3, 0.6))
    return rough + 0.4 * fine < rng.uniform(1.0, 1.7)


def oedema(
    mask: Array, body: Head, tissue: Array, rng: np.random.Generator, axes: fields.Axes
) -> Array:
    """Logarithm of how much fluid has seeped from the core to each voxel; -inf where none can.

    Diffusion on the coarse grid: white matter conducts, cortex hardly, fluid and the gap between
    the hemispheres not at all, so fronts run along gyri as fingers and spare cortex.
    """
    coarse = fields.coarse_axes()
    conduct = np.zeros(256, dtype=np.float32)
    conduct[[WM, NUCLEUS, GM, STEM]] = 1, 0.1, 0.03, 0.3
    conduct[LESION] = 1
    back = [fields.gaussian(at, axis, 0.8 * fields.STEP) for at, axis in zip(coarse, axes)]
    ease = fields.resample(conduct[tissue] + 1e-5, back)
    ease *= np.exp(1.0 * noise(rng, coarse, 8))
    ease[body.brain < 0] = 0
    source = fields.resample(mask.astype(np.float32), back) > 0.4
    ease[source] = 1
    near = ndimage.find_objects(source.astype(np.uint8))[0]
    box = tuple(slice(max(s.start - 26, 0), s.stop + 26) for s in near)
    seep = np.full(ease.shape, -30.0, dtype=np.float32)
    seep[box] = diffuse(source[box], ease[box])
    blocked = np.isin(tissue, (OUTSIDE, CSF, VESSEL))
    cost = np.where(tissue == GM, 3.0, 0.0).astype(np.float32)
    field = fields.blur(fields.upsample(seep, axes) - cost + 0.8 * noise(rng, axes, 6), axes, 1.0)
    return np.where(blocked, -np.inf, field)


def diffuse(source: Array, ease: Array, sweeps: int = 90, loss: float = 0.06) -> Array:
    """Logarithm of the steady concentration round `source` (1 there), by Jacobi sweeps."""
    ease, hold = np.pad(ease, 1), np.pad(source, 1)
    # Sweeps reach one voxel each: start from the solution in even tissue, or fronts are diamonds.
    away = ndimage.distance_transform_edt(~hold).astype(np.float32)
    level = np.exp(-np.arccosh(1 + 3 * loss) * away)
    middle = (slice(1, -1),) * 3
    sides = [
        tuple(
            slice(1 + step * (a == axis), ease.shape[a] - 1 + step * (a == axis)) for a in range(3)
        )
        for axis in range(3)
        for step in (-1, 1)
    ]
    total = sum(np.sqrt(ease[middle] * ease[side]) for side in sides) + loss * 6
    links = [np.sqrt(ease[middle] * ease[side]) / total for side in sides]
    for _ in range(sweeps):
        level[middle] = sum(link * level[side] for link, side in zip(links, sides))
        level[hold] = 1
    return np.log(level[middle] + 1e-12)
