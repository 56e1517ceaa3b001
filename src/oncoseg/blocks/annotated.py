"""What is known of a case that was not searched for everything: regions, labels, weights."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from oncoseg.case import Array, Case, Grid, Task, Volume
from oncoseg.errors import BadData, unknown


def known(task: Task, annotated: Collection[str], case: str = "") -> tuple[str, ...]:
    """The regions of which it is known where they are, and so where they are not.

    Those that are named, and those of which every label is. No name means that all were looked for;
    raises `BadData` with the `case` for one that is neither label nor region.
    """
    for name in annotated:
        if name not in task.labels and name not in task.regions:
            why = unknown("label or region", name, {*task.labels, *task.regions})
            raise BadData(f"case {case}: its annotated classes name {name}; {why}")
    return tuple(
        name
        for name, members in task.regions.items()
        if not annotated or name in annotated or set(members) <= set(annotated)
    )


def outputs(task: Task, regions: Collection[str]) -> list[bool]:
    """Whether each output is known where these regions are; the background always is."""
    return [True] * task.exclusive + [name in regions for name in task.regions]


def cleared(task: Task, member: Array, regions: Collection[str]) -> Array:
    """Memberships (outputs, *S) in 1/255 without those of regions that are not known.

    In exclusive classes what they leave is background, into which the loss merges them.
    """
    rows = np.array(outputs(task, regions))
    if rows.all():
        return member
    member[~rows] = 0
    if task.exclusive:
        member[0] = 255 - np.minimum(member[1:].sum(0, dtype=np.uint16), 255)
    return member


def counts(case: Case, shape: tuple[int, ...], moved: Callable[[Array, Grid], Array]) -> Array:
    """What each voxel of a labelled case counts in training: uint8 in 1/255, of `shape` or none.

    `moved` brings an array from its grid to `shape`; a voxel that was ignored in part counts
    nothing.
    """
    weight = np.ones(shape, dtype=np.float32)
    if case.ignore and (ignored := case.drawn.array == case.ignore).any():
        weight *= moved(ignored.astype(np.uint8), case.drawn.grid) == 0
    for one in case.weights:
        weight *= np.clip(moved(one.array, one.grid), 0, 1) if isinstance(one, Volume) else one
    whole = weight.min() == 1
    return np.full((), 255, np.uint8) if whole else np.round(255 * weight).astype(np.uint8)


def whole(case: Case, task: Task) -> bool:
    """Whether everything was looked for everywhere."""
    some = known(task, case.annotated, case.id)
    return len(some) == len(task.regions) and not (
        case.ignore and (case.drawn.array == case.ignore).any()
    )
