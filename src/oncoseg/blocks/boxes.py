"""Boxes in a pool of cases: where they fit, what they hold on average, which are the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oncoseg.case import Array, Box, Prediction

NOTHING = 1e-12  # a score so small that only boxes that are taken lie below it


@dataclass
class Room:
    """Where boxes of one size can still be put in a case, none over another.

    `free` (*S - size + 1) says of each first voxel whether its box overlaps none that was closed.
    """

    case: str
    size: tuple[int, ...]
    free: Array

    @classmethod
    def empty(cls, case: str, shape: Sequence[int], size: Sequence[int]) -> Room:
        """A case without boxes; where it is smaller than `size`, boxes are as small as it is."""
        fitting = tuple(min(pair) for pair in zip(size, shape))
        starts = tuple(whole - part + 1 for whole, part in zip(shape, fitting))
        return cls(case, fitting, np.ones(starts, dtype=bool))

    def near(self, box: Box) -> tuple[slice, ...]:
        """First voxels of the boxes that overlap one, of whatever size."""
        edges = zip(box.start, box.stop, self.size)
        return tuple(slice(max(0, low - side + 1), high) for low, high, side in edges)

    def close(self, box: Box) -> None:
        """Take the room of a box."""
        self.free[self.near(box)] = False

    def box(self, start: Iterable[Any]) -> Box:
        """The box with this first voxel."""
        first = tuple(int(place) for place in start)
        return Box(self.case, first, tuple(map(sum, zip(first, self.size))))

    def anywhere(self, rng: np.random.Generator) -> list[Box]:
        """One of the boxes that are free, each as likely; none if there is none."""
        places = np.flatnonzero(self.free)
        if not places.size:
            return []
        return [self.box(np.unravel_index(places[rng.integers(places.size)], self.free.shape))]

    def around(self, points: Array, rng: np.random.Generator) -> list[Box]:
        """One free box with one of `points` (n, dims) in its middle, or as near as the edge lets.

        Each of the points whose box is free is as likely; none if there is none.
        """
        starts = np.clip(points - np.array(self.size) // 2, 0, np.array(self.free.shape) - 1)
        starts = starts[self.free[tuple(starts.T)]]
        return [self.box(starts[rng.integers(len(starts))])] if len(starts) else []


def rooms(
    shapes: Mapping[str, Sequence[int]], size: Sequence[int], taken: Iterable[Box]
) -> dict[str, Room]:
    """Case -> its room, without that of the boxes taken before."""
    found = {case: Room.empty(case, shape, size) for case, shape in shapes.items()}
    for box in taken:
        if box.case in found:
            found[box.case].close(box)
    return found


def best(rooms: Mapping[str, Room], scores: Mapping[str, Array], count: int) -> list[Box]:
    """The free boxes of the highest scores in all cases, at most `count`; their room is taken.

    `scores` holds a map a case, of the shape of its room. Greedy: the best box, then the best of
    those that do not overlap it, and so on.
    """
    left = {case: np.where(room.free, scores[case], -np.inf) for case, room in rooms.items()}
    tops = {case: int(score.argmax()) for case, score in left.items()}
    found: list[Box] = []
    while len(found) < count and tops:
        case = max(tops, key=lambda name: float(left[name].flat[tops[name]]))
        score, room = left[case], rooms[case]
        if score.flat[tops[case]] == -np.inf:
            break
        box = room.box(np.unravel_index(tops[case], score.shape))
        room.close(box)
        score[room.near(box)] = -np.inf
        tops[case] = int(score.argmax())
        found.append(box)
    return found


def means(values: Array, size: Sequence[int]) -> Array:
    """Map (*S) -> mean of every box of `size` inside it (*S - size + 1), float64."""
    result = values.astype(np.float64)
    for axis, side in enumerate(size):
        total = np.cumsum(result, axis=axis)
        total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis=axis)
        last = total.shape[axis]
        upper, lower = np.arange(side, last), np.arange(last - side)
        result = (total.take(upper, axis) - total.take(lower, axis)) / side
    return result


def entropy(prediction: Prediction) -> Array:
    """Entropy (*S) of the classes in nats; of overlapping regions, the sum of each one's own."""
    values = prediction.probability.astype(np.float32)
    if not prediction.task.exclusive:
        return np.asarray((_surprise(values) + _surprise(1 - values)).sum(axis=0))
    rest = np.clip(1 - values.sum(axis=0), 0, 1)
    return np.asarray(_surprise(values).sum(axis=0) + _surprise(rest))


def powered(scores: Array, beta: float, rng: np.random.Generator) -> Array:
    """Scores s -> log s + Gumbel(0, 1/beta): box i has the largest in proportion to s_i^beta."""
    noise = rng.gumbel(0, 1 / beta, scores.shape)
    return np.asarray(np.log(np.maximum(scores, NOTHING)) + noise)


def _surprise(values: Array) -> Array:
    """-p log p, 0 where p is 0."""
    return np.asarray(-values * np.log(np.where(values > 0, values, 1)))
