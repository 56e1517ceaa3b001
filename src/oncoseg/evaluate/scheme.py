"""Which label values make a region, and which may be there at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from oncoseg.blocks.extents import Extents, around, extents
from oncoseg.case import Array, Task
from oncoseg.errors import BadData

INSTANCES = "instances"
Regions = Mapping[str, Sequence[int]] | Task


@dataclass(frozen=True)
class Scheme:
    """The label values of each region, and every value that a label map may hold.

    Voxels of the value `ignore` in the truth belong to no mask. With `instances` each value is an
    instance of one region, and both sides are cut from the label maps as they are.
    """

    regions: Mapping[str, tuple[int, ...]]
    known: frozenset[int]
    ignore: int | None = None
    instances: bool = False

    @classmethod
    def of(cls, task: Task, ignore: int | None = None) -> Scheme:
        """The regions of a task."""
        regions = {
            name: tuple(task.labels[member] for member in members)
            for name, members in task.regions.items()
        }
        return cls(regions, frozenset({0, *task.labels.values()}), ignore)

    @classmethod
    def given(
        cls,
        regions: Mapping[str, Sequence[int]],
        ignore: int | None = None,
        others: Iterable[int] = (),
    ) -> Scheme:
        """Regions as a caller states them; `others` are label values that need have no region."""
        plain = {str(name): tuple(int(value) for value in one) for name, one in regions.items()}
        every = {value for values in plain.values() for value in values}
        return cls(plain, frozenset({0, *every, *others}), ignore)

    @classmethod
    def asked(
        cls, regions: Regions, ignore: int | None = None, others: Iterable[int] = ()
    ) -> Scheme:
        """Regions as a caller has them: label values, or the task that knows them."""
        if isinstance(regions, Task):
            return cls.of(regions, ignore)
        return cls.given(regions, ignore, others)

    @classmethod
    def of_instances(cls) -> Scheme:
        """One region of which each value is an instance."""
        return cls({INSTANCES: ()}, frozenset(), instances=True)

    def check(self, label: Array, what: str) -> Extents:
        """Where each value lies; raises `BadData` that names the values which no region knows."""
        found = extents(label)
        if self.instances:
            if min(found, default=0) < 0:
                raise BadData(f"{what} holds values below 0; number instances from 1")
            return found
        extra = sorted(found.keys() - {*self.known, self.ignore})
        if extra:
            listed = ", ".join(map(str, extra[:5])) + (", ..." if len(extra) > 5 else "")
            known = ", ".join(map(str, sorted(self.known - {0}))) or "none"
            raise BadData(
                f"{what} holds the label {listed}, but the labels that are known are {known}; "
                "state its region, or correct the label map"
            )
        return found

    def masks(
        self, name: str, prediction: Array, truth: Array, lying: Sequence[Extents]
    ) -> tuple[Array, Array]:
        """A region's predicted and true mask, cut to the box that holds both.

        `lying` says where the values of both label maps lie.
        """
        if self.instances:
            box = around([box for found in lying for box in found.values()], truth.ndim)
            return prediction[box], truth[box]
        values = self.regions[name]
        inside = [found[value] for found in lying for value in values if value in found]
        box = around(inside, truth.ndim)
        predicted, true = union(prediction[box], values), union(truth[box], values)
        if self.ignore is not None:
            predicted &= truth[box] != self.ignore
        return predicted, true


def union(label: Array, values: Sequence[int]) -> Array:
    """Where a label map holds any of these values."""
    # Comparing value by value is several times faster than `isin`.
    parts = [label == value for value in values]
    return reduce(np.logical_or, parts) if parts else np.zeros(label.shape, dtype=bool)
