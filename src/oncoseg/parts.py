"""The contracts of parts that need no torch: data sets, metrics, findings, post-hoc steps, queries.

What learns (networks, methods, losses, augmentations, strategies) has its contracts in `trainable`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from oncoseg.case import Array, Box, Case, Prediction, Source, Task


class Dataset(ABC):
    """A layout of files that people use; finds cases without reading any voxel."""

    @abstractmethod
    def matches(self, folder: Path) -> bool:
        """Whether `folder` is laid out this way."""

    @abstractmethod
    def find(self, folder: Path) -> list[Source]:
        """Every case in `folder`, sorted by name; raises `BadData` on two cases under one name."""

    def describe(self, folder: Path) -> dict[str, Any]:
        """What the folder says of its task: any of `name`, `labels`, `regions`, `modalities`."""
        return {}


class Metric(ABC):
    """A number that compares a prediction and the truth of one region.

    `higher` says whether more is better, `unit` is "" for a pure number, `bounds` are the worst and
    best possible value (`worst` may be infinite). `empty` is the rule for empty masks, as a
    sentence shown in tables. `distances` says whether it measures along axes, which have to be at
    right angles then; else only the product of the spacing may count. `one_sided` says that who
    predicts nothing has its best value, so that it says nothing alone. `instances` says that it
    takes two instance maps too, whole numbers (*S) of which each but 0 is one instance. `needs` (a
    literal) may hold `probability`: the prediction is then not a mask but the region's probability
    in each voxel, NaN where a voxel does not count.
    """

    higher: ClassVar[bool] = True
    unit: ClassVar[str] = ""
    worst: ClassVar[float] = 0.0
    empty: ClassVar[str] = ""
    distances: ClassVar[bool] = False
    one_sided: ClassVar[bool] = False
    instances: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> value; NaN: undefined, by the rule in `empty`.

        Of metrics that need it, `prediction` is a probability (*S), float from 0 to 1.
        """

    def limit(self, truth: Array, spacing: Sequence[float]) -> float:
        """The worst value that any prediction of this truth can have, which missing ones get.

        NaN if it is undefined for this truth. Metrics without a finite `worst` override it.
        """
        return self.worst


class Finding(ABC):
    """A section of the report: what was measured in a prediction, its unit, and how."""

    @abstractmethod
    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Plain data for JSON.

        {"title": ..., "method": ..., "rows": [{"name", "value", "unit"}, ...]}. A row may hold
        `region` (of the task) or `lesion` (as `blocks.segments.lesions` names it), and `low`,
        `high` and `level` of an interval. What was not assessed, and why, are sentences in `notes`;
        no row stands for it. `case.images` holds only images that are still there.
        """


class Posthoc(ABC):
    """A step after prediction: calibration, clean-up, intervals.

    It learns from one held-out case at a time, so that of any number of cases only what each
    teaches, its `lesson`, is in memory. What `fit` makes of the lessons is in `state`, plain data
    for JSON that travels in the model file. `needs` (a literal) may hold `probability`: the step
    reads that of every voxel, or changes labels, of which the confidence is then asked anew. It may
    hold `logits`: where whole probabilities would not be kept, `logits` does on a part of the scan
    what the step does. `changes` says what of a prediction the step may change, `probability` or
    `label`; steps that change nothing promise something of what there is, and come after them.
    """

    needs: ClassVar[tuple[str, ...]] = ("probability",)
    changes: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    @property
    def learns(self) -> bool:
        """Whether there is anything to learn."""
        return type(self).fit is not Posthoc.fit

    def lesson(self, prediction: Prediction, truth: Array) -> dict[str, Any]:
        """What a held-out case with its true label map (*S) teaches: small, plain data for JSON."""
        return {}

    def fit(self, lessons: Sequence[Mapping[str, Any]]) -> None:  # noqa: B027 - most learn nothing
        """Learn from the lessons of all held-out cases, one at least."""

    def logits(self, logits: Array) -> Array:
        """Logits (outputs, n) of some voxels after the step, which leaves labels as they are."""
        return logits

    @abstractmethod
    def __call__(self, prediction: Prediction) -> Prediction:
        """A new prediction; the one given is not changed."""


@dataclass(frozen=True)
class Wanted:
    """What a query is asked for: `count` boxes of `size` voxels (a case's own, where smaller).

    `taken` holds the boxes that were annotated before; `done` is the share of the rounds that are
    over, from 0 in the first to 1 in the last.
    """

    count: int
    size: tuple[int, ...]
    taken: Sequence[Box] = ()
    done: float = 0.0
    seed: int = 0


class Query(ABC):
    """Which parts of which unlabelled cases are worth a person's time next.

    `needs` (a literal, read without importing) may hold `truth`: the query stands for a person who
    sees the structures, so in a simulation its pool holds the true labels in place of predictions.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def pick(self, pool: Sequence[Prediction], wanted: Wanted) -> list[Box]:
        """Exactly `wanted.count` boxes, or all there are.

        None overlaps another, or one taken before. The pool's predictions lie on the plan's grid.
        """


__all__ = ["Dataset", "Finding", "Metric", "Posthoc", "Query", "Task", "Wanted"]
