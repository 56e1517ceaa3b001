"""Which label a voxel gets when one of its regions is taken from it, or given to it."""

from __future__ import annotations

import numpy as np

from oncoseg.case import Array, Task
from oncoseg.errors import unknown


def without(task: Task, region: str) -> Array:
    """Label value -> the value that a voxel of it gets when it loses a region, uint8.

    It is the label that is in most of the other regions, and in none that the voxel was not in;
    background if there is none.
    """
    member = _member(task)
    table = np.zeros(256, dtype=np.uint8)
    for value, regions in member.items():
        fitting = [other for other in member if member[other] <= regions - {region}]
        table[value] = max(fitting, key=lambda other: len(member[other]), default=0)
    return table


def within(task: Task, region: str) -> Array:
    """Label value -> the value that a voxel of it gets when it gains a region, uint8.

    It is the label of the region that takes fewest other regions away, and then adds fewest.
    """
    member = _member(task)
    inside = [value for value, regions in member.items() if region in regions]
    table = np.zeros(256, dtype=np.uint8)
    for value, regions in {0: set(), **member}.items():
        table[value] = min(
            inside, key=lambda new: (len(regions - member[new]), len(member[new] - regions))
        )
    return table


def redrawn(task: Task, region: str, label: Array, mask: Array) -> Array:
    """A label map (*S) in which a region is this mask (*S), a new array."""
    was, label = task.masks(label)[region], label.copy()
    for changed, table in ((was & ~mask, without), (mask & ~was, within)):
        label[changed] = table(task, region)[label[changed]]
    return label


def outer_first(task: Task, region: str = "") -> list[str]:
    """The regions, those with most labels first, or the one that is named.

    Raises `UnknownName` for one that the task has not.
    """
    if region and region not in task.regions:
        raise unknown("region", region, task.regions)
    return sorted([region] if region else task.regions, key=lambda one: -len(task.regions[one]))


def _member(task: Task) -> dict[int, set[str]]:
    """Label value -> the regions that it is in."""
    return {
        value: {name for name, members in task.regions.items() if label in members}
        for label, value in task.labels.items()
    }
