"""Bring every modality of a case onto one grid by physical coordinates.

Results are brought exactly back. Inside, axes run as close to right, anterior, superior (RAS) as
the scan allows and voxels have the plan's spacing; outside, a result lies on the case's own
reference grid. Where voxels map one to one, nothing is interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from oncoseg.blocks.annotated import cleared, counts, known
from oncoseg.blocks.appearance import appearance
from oncoseg.blocks.extents import body
from oncoseg.blocks.surface import bounds
from oncoseg.case import Array, Case, Grid, Task
from oncoseg.errors import BadData
from oncoseg.prepare.plan import Plan
from oncoseg.prepare.stretch import Stretch, subgrid, turned


@dataclass(frozen=True)
class Aligned:
    """A case as a network sees it, cut to the body.

    image (M, *S) float32 normalised, 0 where not present; present (M, *S) bool; label (outputs, *S)
    uint8, the membership of each output in 1/255; grid of these arrays; `labeled`. Of plans with a
    stretch, `alone` is the axis along which logits come back by the nearest voxel, -1 for none, and
    `wide` lets them reach a voxel beyond the last centres.
    `weight` (*S or none) uint8 is what each voxel counts in training, in 1/255; `known` names the
    regions that were looked for, if it is labelled.
    """

    image: Array
    present: Array
    label: Array
    grid: Grid
    labeled: bool
    stretched: bool = False
    alone: int = -1
    wide: bool = False
    weight: Array = field(default_factory=lambda: np.full((), 255, np.uint8))
    known: tuple[str, ...] = ()

    def relation(self, target: Grid) -> Relation:
        """Where the voxels of a scan's own grid lie in these arrays."""
        return Relation.between(
            self.grid, target, sharp=self.stretched, alone=self.alone, wide=self.wide
        )

    def appearance(self, task: Task) -> dict[str, list[float]]:
        """How each modality that is there looks to a network."""
        named = zip(task.modalities, self.image, self.present)
        return {name: appearance(image, there) for name, image, there in named if there.any()}


def align(case: Case, plan: Plan) -> Aligned:
    """Case -> arrays on the plan's grid.

    Raises `BadData` if it has none of the task's modalities.
    """
    task = plan.task
    used = [name for name in task.modalities if name in case.images]
    if not used:
        has = ", ".join(case.images)
        wants = ", ".join(task.modalities)
        raise BadData(f"case {case.id} has {has}, but the task needs at least one of {wants}")
    dims = {case.images[name].grid.dims for name in [*used, case.reference]}
    if dims != {task.dims}:
        raise BadData(
            f"case {case.id} is {' and '.join(f'{count}-D' for count in sorted(dims))}, "
            f"but the task is {task.dims}-D; give scans of that kind"
        )
    if plan.stretch:
        return _stretched(case, plan, plan.stretch)
    grid = working_grid(crop(case, case.grid, used), task.spacing)
    image = np.zeros((task.inputs, *grid.shape), dtype=np.float32)
    present = np.zeros(image.shape, dtype=bool)
    for channel, name in enumerate(task.modalities):
        if name in case.images:
            volume = case.images[name]
            present[channel] = covered(volume.grid, grid)
            if not present[channel].any():
                raise _apart(case, name)
            values = resample(volume.array, volume.grid, grid)
            image[channel] = plan.normalisation[name](values, present[channel])
    return _labelled(case, task, Aligned(image, present, image[:0], grid, case.labeled))


def _stretched(case: Case, plan: Plan, rule: Stretch) -> Aligned:
    """A case as another program prepares it; raises `BadData` unless modalities lie on one grid."""
    task = plan.task
    if missing := [name for name in task.modalities if name not in case.images]:
        cause = f"lacks {', '.join(missing)}, without which this imported model cannot segment"
        raise BadData(f"case {case.id} {cause}; give {', '.join(task.modalities)}")
    volumes = [case.images[name] for name in task.modalities]
    if not all(volume.grid.same_as(case.grid) for volume in volumes):
        cause = "has its modalities on several grids, and this imported model takes one"
        raise BadData(f"case {case.id} {cause}; register and resample them onto one grid first")
    if rule.pinned and case.grid.sheared:
        cause = "has axes that are not at right angles, which this imported model cannot be shown"
        raise BadData(f"case {case.id} {cause}; resample it onto an upright grid first")
    order, flips = orientation(case.grid) if rule.turned else ([0, 1, 2], np.ones(3))
    order, flips = [order[axis] for axis in rule.axes], flips[list(rule.axes)] * rule.signs
    steps = tuple(slice(None, None, int(sign)) for sign in flips)
    arrays = [volume.array.transpose(order)[steps].astype(np.float32) for volume in volumes]
    grid = turned(case.grid, order, flips)
    schemes = [plan.normalisation[name] for name in task.modalities]
    try:
        image, target, back = rule.prepared(arrays, grid, task.spacing, schemes)
    except BadData as error:
        raise BadData(f"case {case.id} {error}") from error
    present = np.ones(image.shape, dtype=bool)
    bare = Aligned(image, present, image[:0], target, case.labeled)
    return _labelled(case, task, replace(bare, stretched=True, alone=back, wide=rule.pinned))


def _labelled(case: Case, task: Task, bare: Aligned) -> Aligned:
    """With label, what each of its voxels counts, and the regions that were looked for."""
    label, regions = aligned_label(case, bare.grid, task), known(task, case.annotated, case.id)
    if not case.labeled:
        return replace(bare, label=label)
    weight = counts(case, bare.grid.shape, partial(resample, target=bare.grid))
    return replace(bare, label=cleared(task, label, regions), weight=weight, known=regions)


def aligned_label(case: Case, grid: Grid, task: Task) -> Array:
    """Membership (outputs, *S) of each output on `grid`, uint8 in 1/255, zero if not labelled.

    Memberships of `Case.drawn` are resampled, not label values: on a coarser grid an edge voxel
    belongs in part, which keeps small structures.
    """
    shape = (task.outputs, *grid.shape)
    if not case.labels:
        return np.broadcast_to(np.uint8(0), shape)  # takes no memory
    member = np.zeros(shape, dtype=np.uint8)
    values, source = case.drawn.array, case.drawn.grid
    if Relation.between(source, grid).exact:
        values, source = resample(values, source, grid, order=0), grid
    for row, inside in zip(member, task.membership.astype(bool)):
        mask = np.isin(values, np.flatnonzero(inside != inside[0])) != inside[0]
        if source is grid:
            np.multiply(mask, np.uint8(255), out=row)
        else:
            row[:] = np.round(255 * resample(mask, source, grid, outside=float(inside[0])))
    return member


def crop(case: Case, grid: Grid, used: list[str]) -> Grid:
    """The part of the reference grid with body in any used modality, or any on another grid."""
    inside: Array = np.zeros((), dtype=bool)
    for name in used:
        volume = case.images[name]
        near = volume.grid.same_as(grid)
        inside = inside | (body(volume.array) if near else covered(volume.grid, grid))
    if not inside.any():
        raise _apart(case, ", ".join(used))
    return subgrid(grid, bounds(inside))


def _apart(case: Case, names: str) -> BadData:
    """A modality that covers nothing would be ignored, yet said to have been used."""
    return BadData(
        f"case {case.id}: {names} lies nowhere on {case.images[case.reference].path.name}; leave "
        "it out, or export both again"
    )


def working_grid(grid: Grid, spacing: tuple[float, ...] = ()) -> Grid:
    """The same field of view, axes turned towards RAS (3-D) and at right angles.

    Voxels of `spacing` mm (empty: as they are).
    """
    grid = upright(grid) if grid.sheared else grid
    order, flips = orientation(grid)
    linear = grid.affine[:-1, :-1][:, order] * flips
    old = np.array(grid.spacing)[order]
    sizes = np.array(grid.shape)[order]
    new = np.where(np.isclose(old, spacing, rtol=1e-3), old, spacing) if spacing else old
    shape = np.maximum(1, np.round(sizes * old / new)).astype(int)
    first = grid.affine[:-1, -1] + grid.affine[:-1, :-1][:, order] @ np.where(
        flips < 0, sizes - 1, 0
    )
    affine = np.eye(grid.dims + 1)
    affine[:-1, :-1] = linear * (new / old)
    middle = linear @ ((sizes - 1) / 2) - affine[:-1, :-1] @ ((shape - 1) / 2)
    affine[:-1, -1] = first + middle
    return Grid(tuple(int(size) for size in shape), affine)


def upright(grid: Grid) -> Grid:
    """A grid at right angles that holds every voxel of a sheared one.

    The two axes nearest to a right angle stay, as do those of the slices of a tilted scanner; the
    third becomes their normal, and the voxels as long along it as slices are apart.
    """
    axes = grid.affine[:-1, :-1] / np.array(grid.spacing)
    cosines = np.abs(axes.T @ axes) + 2 * np.tri(grid.dims)
    first, second = (int(axis) for axis in np.unravel_index(np.argmin(cosines), cosines.shape))
    order = [first, second, *({0, 1, 2} - {first, second})][: grid.dims]
    turned, lengths = np.linalg.qr(grid.affine[:-1, :-1][:, order])
    signs = np.sign(np.diag(lengths))
    linear = np.empty_like(axes)
    linear[:, order] = turned * signs * np.abs(np.diag(lengths))
    corners = np.stack(np.meshgrid(*[(0, size - 1) for size in grid.shape])).reshape(grid.dims, -1)
    index = np.linalg.inv(linear) @ grid.affine[:-1, :-1] @ corners
    low, high = index.min(axis=1), index.max(axis=1)
    affine = grid.affine.copy()
    affine[:-1, :-1] = linear
    affine[:-1, -1] += linear @ low
    return Grid(tuple(int(size) for size in np.ceil(high - low - 1e-3) + 1), affine)


def orientation(grid: Grid) -> tuple[list[int], Array]:
    """For each RAS axis the voxel axis nearest to it, and its sign; 2-D images keep their axes."""
    if grid.dims == 2:
        return [0, 1], np.ones(2)
    direction = grid.affine[:3, :3] / np.array(grid.spacing)
    order, strength = [-1, -1, -1], np.abs(direction)
    for _ in range(3):
        world, voxel = np.unravel_index(np.argmax(strength), (3, 3))
        order[world] = int(voxel)
        strength[world, :], strength[:, voxel] = -1, -1
    return order, np.array([np.sign(direction[world, voxel]) for world, voxel in enumerate(order)])


def covered(source: Grid, target: Grid) -> Array:
    """Where the centres of the target's voxels lie inside the outer edges of the source."""
    matrix = np.linalg.inv(source.affine) @ target.affine
    inside = np.ones(target.shape, dtype=bool)
    for axis, size in enumerate(source.shape):
        index = matrix[axis, -1]
        for other in np.flatnonzero(matrix[axis, :-1]):
            steps = np.arange(target.shape[other]) * matrix[axis, other]
            index = index + steps.reshape([-1 if one == other else 1 for one in range(target.dims)])
        inside &= (index >= -0.501) & (index <= size - 0.499)
    return inside


@dataclass(frozen=True)
class Relation:
    """Where the voxels of a target lie in a source: index there = linear @ index + shift.

    `axes` names the source's axis for each axis of the target, if each has its own; rows of
    `linear` and `shift` are then in the target's order. `exact`: voxels fall on voxels. `sharp`:
    nothing is smoothed, and what lies out of the field of view is outside, unless it is `wide`;
    along the axis `alone` of the target, if not -1, the nearest voxel counts.
    """

    axes: tuple[int, ...]
    linear: Array
    shift: Array
    exact: bool
    sharp: bool = False
    alone: int = -1
    wide: bool = False

    @classmethod
    def between(
        cls, source: Grid, target: Grid, *, sharp: bool = False, alone: int = -1, wide: bool = False
    ) -> Relation:
        """Grids that differ by flips, permutations and whole-voxel shifts are `exact`.

        `alone` is an axis of the source here.
        """
        matrix = np.linalg.inv(source.affine) @ target.affine
        linear, shift = matrix[:-1, :-1], matrix[:-1, -1]
        whole = np.round(linear)
        near = np.allclose(linear, whole, atol=1e-3 / max(target.shape))
        exact = near and np.allclose(shift, np.round(shift), atol=1e-2)
        exact = exact and np.array_equal(np.abs(whole).sum(0), np.ones(source.dims))
        if exact:
            linear, shift = whole, np.round(shift)
        axes = tuple(int(axis) for axis in np.argmax(np.abs(linear), axis=0))
        if len(set(axes)) < source.dims:
            axes = tuple(range(source.dims))
        order = list(axes)
        there = axes.index(alone) if alone >= 0 else -1
        return cls(axes, linear[order], shift[order], exact, sharp, there, wide)

    @property
    def border(self) -> float:
        """How far out of the source's outermost centres voxels still lie inside."""
        return 0.0 if self.exact else 0.5 if self.sharp and not self.wide else 1.0

    def index(self, axis: int, size: int) -> Array:
        """Where `size` voxels along an axis of the target lie in the source."""
        places = self.linear[axis, axis] * np.arange(size) + self.shift[axis]
        return np.floor(places + 0.5 + 1e-6) if axis == self.alone else places

    @property
    def straight(self) -> bool:
        """Whether each axis of the target runs along one of the source."""
        off = self.linear - np.diag(np.diag(self.linear))
        return bool(np.allclose(off, 0, atol=1e-6))

    @property
    def blur(self) -> Array:
        """Deviation (voxels of the source) of the Gaussian before going to coarser voxels.

        Half the ratio less one an axis, so that nothing aliases; 0 everywhere for small ratios.
        """
        ratio = np.abs(np.diag(self.linear))
        return np.maximum(0, (ratio - 1) / 2) * bool((ratio > 1.2).any() and not self.sharp)

    def reach(self, axis: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Least and largest source index along `axis` in each row along it of a target (*shape)."""
        others = [other for other in range(len(shape)) if other != axis]
        ends = [self.linear[axis, other] * (shape[other] - 1) for other in others]
        middle = self.linear[axis, axis] * np.arange(shape[axis]) + self.shift[axis]
        low, high = (sum(edge(0.0, end) for end in ends) for edge in (min, max))
        return middle + low, middle + high


SLAB = 32 << 20  # bytes of a source that are resampled at once
CUT = 3  # deviations at which the Gaussian ends


def resample(
    array: Array, source: Grid, target: Grid, *, order: int = 1, outside: float = 0.0
) -> Array:
    """`array` (*S) on `source` -> values at the voxel centres of `target`.

    The result is float32 for order 1, of the same kind for order 0.

    Grids that differ by flips, permutations and whole-voxel shifts are copied exactly. Going to
    coarser voxels, the image is smoothed first (see `Relation.blur`). All is done slab by slab.
    """
    relation = Relation.between(source, target)
    moved = array.transpose(relation.axes)
    if relation.exact:
        result = np.full(target.shape, outside, dtype=np.float32 if order else array.dtype)
        return _copied(moved, relation, result)
    result = np.empty(target.shape, dtype=np.float32 if order else array.dtype)
    axis = int(np.argmax(target.shape))
    low, high = relation.reach(axis, target.shape)
    rim = 1 + math.ceil(CUT * relation.blur[axis])
    size = moved.shape[axis]
    # Labels at once: where a centre lies between two voxels, rounding alone tells which it gets.
    rows = max(1, SLAB * target.shape[axis] // (4 * array.size)) if order else target.shape[axis]
    for first in range(0, target.shape[axis], rows):
        piece = slice(first, first + rows)
        begin = int(np.clip(np.floor(low[piece].min()) - rim, 0, size - 1)) if order else 0
        end = int(np.clip(np.ceil(high[piece].max()) + rim, begin, size - 1)) if order else size - 1
        shift = relation.shift + relation.linear[:, axis] * first
        shift[axis] -= begin
        part = np.moveaxis(np.moveaxis(moved, axis, 0)[begin : end + 1], 0, axis)
        here = np.moveaxis(np.moveaxis(result, axis, 0)[piece], 0, axis)
        _interpolated(part, relation, shift, here, order, outside)
    return result


def _interpolated(
    array: Array, relation: Relation, shift: Array, result: Array, order: int, outside: float
) -> None:
    """Fill `result` from an array whose axes are those of the relation."""
    if order:
        array = array.astype(np.float32, copy=False)
        if relation.blur.any():
            array = ndimage.gaussian_filter(array, relation.blur, mode="nearest", truncate=CUT)
    # A voxel more on each side: centres in the outer half voxel are inside the field of view.
    border: dict[str, Any] = {"mode": "edge"} if order else {"constant_values": outside}
    transform = np.diag(relation.linear) if relation.straight else relation.linear
    ndimage.affine_transform(
        np.pad(array, 1, **border),
        transform,
        shift + 1,
        output=result,
        output_shape=result.shape,
        order=order,
        mode="constant",
        cval=outside,
    )


def _copied(moved: Array, relation: Relation, result: Array) -> Array:
    """Signed permutation and whole shift: slices are copied, nothing is computed."""
    read, write = [], []
    for axis, size in enumerate(result.shape):
        sign = int(relation.linear[axis, axis])
        index = int(relation.shift[axis]) + sign * np.arange(size)
        valid = np.flatnonzero((index >= 0) & (index < moved.shape[axis]))
        if not len(valid):
            return result
        first, last = int(index[valid[0]]), int(index[valid[-1]])
        stop = last + sign
        read.append(slice(first, stop if stop >= 0 else None, sign))
        write.append(slice(int(valid[0]), int(valid[-1]) + 1))
    result[tuple(write)] = moved[tuple(read)]
    return result
