"""The contracts of parts that need no torch: data sets, metrics, findings, post-hoc steps, queries.

What learns (networks, methods, losses, augmentations, strategies) has its contracts in `trainable`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from oncoseg.case import Array, Case, Prediction, Source, Task


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
    """A number that compares two masks of one region.

    `higher` says whether more is better, `unit` is "" for a pure number, `bounds` are the worst and
    best possible value (`worst` may be infinite). `empty` is the rule for empty masks, as a
    sentence shown in tables.
    """

    higher: ClassVar[bool] = True
    unit: ClassVar[str] = ""
    worst: ClassVar[float] = 0.0
    empty: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, prediction: Array, truth: Array, spacing: Sequence[float]) -> float:
        """Boolean masks (*S), spacing in mm -> value; NaN: undefined, by the rule in `empty`."""

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

        {"title": ..., "method": ..., "rows": [{"name", "value", "unit"}, ...]}.
        """


class Posthoc(ABC):
    """A step after prediction: calibration, clean-up, intervals."""

    def fit(  # noqa: B027 - nothing to learn for most
        self, predictions: Sequence[Prediction], truths: Sequence[Array]
    ) -> None:
        """Learn from predictions and their true label maps (*S).

        Steps with nothing to learn need not override.
        """

    @abstractmethod
    def __call__(self, prediction: Prediction) -> Prediction:
        """A new prediction; the one given is not changed."""


class Query(ABC):
    """Which unlabelled case is worth a person's time next; more is more worth it."""

    kind: ClassVar[Literal["score", "pick"]] = "score"

    @abstractmethod
    def score(self, prediction: Prediction) -> float:
        """Worth of one case."""

    def pick(self, predictions: Sequence[Prediction], count: int) -> list[str]:
        """The `count` cases most worth labelling, by name."""
        ranked = sorted(predictions, key=self.score, reverse=True)
        return [prediction.case for prediction in ranked[:count]]


__all__ = ["Dataset", "Finding", "Metric", "Posthoc", "Query", "Task"]
