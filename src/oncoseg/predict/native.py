"""Rows of logits become labels on the scan's own grid as they are finished; none are kept.

Between voxels logits are interpolated linearly. Where one label has the largest score in all
corners of a cell, it has it everywhere inside, so only cells in which corners differ are computed
(their labels are the same either way, but for scores that are equal to the last bit).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from oncoseg.blocks.expected_dice import ratio
from oncoseg.case import Array, Task
from oncoseg.predict.doubt import doubt as doubtful
from oncoseg.prepare.align import CUT, Relation

OUTSIDE = -20.0
DENSE = 0.25  # share of a row's voxels in cells that differ, above which all are computed
PIECE = 1 << 14  # voxels that are gathered at once
THREADS = min(4, os.cpu_count() or 1)
Soften = Callable[[Array], Array]


def background(task: Task) -> Array:
    """Logits (outputs, 1) of a voxel that is certainly background."""
    values = np.full((task.outputs, 1), OUTSIDE, dtype=np.float32)
    if task.exclusive:
        values[0] = -OUTSIDE
    return values


@dataclass(frozen=True)
class Places:
    """Where voxels of the scan lie along one axis of the rows.

    `low` is the voxel before each, `high` the next, `share` the weight of the latter; `inside`
    says which lie in the field of view.
    """

    low: Array
    high: Array
    share: Array
    inside: Array

    @classmethod
    def of(cls, index: Array, size: int, border: float) -> Places:
        """Of indices along an axis of `size` voxels; up to `border` beyond them is inside."""
        inside = (index >= -border) & (index <= size - 1 + border)
        clipped = np.clip(index, 0, size - 1)
        low = np.floor(clipped).astype(np.intp)
        share = (clipped - low).astype(np.float32)
        return cls(low, np.minimum(low + 1, size - 1), share, inside)

    @property
    def between(self) -> bool:
        """Whether any lies between two voxels."""
        return bool(self.share.any())

    def spread(self, values: Array, axis: int) -> Array:
        """Values (A, B) at these places along axis 0 or 1."""
        first = values.take(self.low, axis)
        if self.between:
            share = self.share if axis else self.share[:, None]
            second = values.take(self.high, axis)
            first *= 1 - share
            second *= share
            first += second
        return first


@dataclass
class Confidence:
    """Sums from which the Dice to be expected of each region follows: 2 sum(p m) / sum(p + m).

    They are taken where the network looked, on its own grid.
    """

    task: Task
    probable: Array = field(init=False)
    inside: Array = field(init=False)
    size: Array = field(init=False)

    def __post_init__(self) -> None:
        self.probable, self.inside, self.size = np.zeros((3, len(self.task.regions)))

    def add(self, logits: Array, label: Array) -> None:
        """Add voxels: logits (outputs, n) of which the most probable label is known."""
        member = self.task.membership[int(self.task.exclusive) :] > 0
        if self.task.exclusive:
            share = np.exp(logits - logits.max(axis=0))
            own = 1 / share.sum(axis=0)  # the probability of the label, which has the largest
            self.probable += share[1:] @ own
            length = member.shape[1]
            self.inside += member @ np.bincount(label, own, length)[:length]
            self.size += member @ np.bincount(label, minlength=length)[:length]
            return
        values = self.task.probabilities(logits)
        self.probable += values.sum(axis=1, dtype=np.float64)
        for place, row in enumerate(member):
            mask = row[label]
            self.inside[place] += values[place][mask].sum(dtype=np.float64)
            self.size[place] += np.count_nonzero(mask)

    def values(self, voxels: float) -> dict[str, float]:
        """Region -> expected Dice; `voxels` of the scan are one here.

        A region that is empty and nowhere probable counts as 1.
        """
        total = self.probable + self.size
        return {
            name: ratio(inside * voxels, whole * voxels)
            for name, inside, whole in zip(self.task.regions, self.inside, total)
        }


class Native:
    """Takes rows (outputs + maps, *plane) along `axis` of arrays `source`; fills those of `target`.

    Both are shapes; `relation` says how they lie in one another. `threads` share the work.

    `label` (*S) uint8; `probability` (regions, *S) float16 if `kept` is such an array, of logits
    that went through `soften`; `maps` (n, *S) float16; `doubt`, if it is such an array, what
    `oncoseg.predict.doubt` says, (n, *S) uint8.
    """

    def __init__(
        self,
        task: Task,
        relation: Relation,
        source: Sequence[int],
        target: tuple[int, ...],
        axis: int,
        *,
        threads: Executor,
        kept: Array | None = None,
        doubt: Array | None = None,
        maps: int = 0,
        soften: Soften = lambda logits: logits,
    ) -> None:
        self.task, self.soften, self.kept = task, soften, kept
        self.relation, self.threads = relation, threads
        axes, dims = relation.axes, len(target)
        along = axes.index(axis)
        order = [along, *(axes.index(each) for each in range(dims) if each != axis)]
        self.label = np.zeros(target, np.uint8, order="F" if along == dims - 1 else "C")
        self.maps = np.zeros((maps, *target), dtype=np.float16)
        self.doubt = np.zeros((0, *target), np.uint8) if doubt is None else doubt
        self.doubt[1:2] = 255  # where nothing was seen, there is surely nothing
        nothing = np.zeros((0, *target), np.float16) if kept is None else kept
        arrays = (self.label[None], self.maps, self.doubt, nothing)
        self.views = [self._turned(each, order) for each in arrays]
        self.places = [
            Places.of(relation.index(each, target[each]), source[axes[each]], relation.border)
            for each in order
        ]
        self.places += [Places.of(np.zeros(1), 1, 0)] * (3 - dims)
        self.order, self.size = order, source[axis]
        self.low, self.high = self.places[0].low, self.places[0].high
        if not relation.straight:
            low, high = relation.reach(along, target)
            both = (np.clip(np.floor(each), 0, self.size - 1) for each in (low, high + 1))
            self.low, self.high = (each.astype(np.intp) for each in both)
        self.waiting = [int(row) for row in np.argsort(-self.high, kind="stable")]
        self.blur = [float(relation.blur[each]) for each in order] + [0.0] * (3 - dims)
        self.bell = bell(self.blur[0])
        self.raw: dict[int, Array] = {}
        self.rows: dict[int, tuple[Array, Array]] = {}
        self.come = self.smooth = 0
        self.confidence = Confidence(task)

    def _turned(self, array: Array, order: Sequence[int]) -> Array:
        """A view (rows, n, a, b) of an array (n, *S), b of one voxel in 2-D."""
        view = array.transpose([1 + order[0], 0, *(1 + each for each in order[1:])])
        return view if len(order) == 3 else view[..., None]

    def add(self, block: Array, seen: Array) -> None:
        """Take rows (n, outputs + maps, *plane), and where (n, *plane) anything was present."""
        empty = background(self.task)
        block = block.reshape(*block.shape[:3], -1)
        for row, there in zip(block, seen.reshape(len(seen), *block.shape[2:])):
            logits = row[: self.task.outputs]
            logits[:, ~there] = empty
            label = self.task.decode(logits)
            if there.all():
                self.confidence.add(self.soften(logits.reshape(len(empty), -1)), label.ravel())
            elif there.any():
                self.confidence.add(self.soften(logits[:, there]), label[there])
            self._take(row, label)
        self._fill()
        for place, (row, label) in self.rows.items():
            self.rows[place] = (row if row.base is None else row.copy()), label
        for place, row in self.raw.items():
            self.raw[place] = row if row.base is None else row.copy()

    def _take(self, row: Array, label: Array) -> None:
        """Keep a row, smoothed first where the scan's voxels are coarser."""
        self.come += 1
        if not any(self.blur):
            self.rows[self.come - 1] = row, label
            return
        for axis, deviation in enumerate(self.blur[1:], start=1):
            if deviation:
                row = ndimage.gaussian_filter1d(row, deviation, axis, mode="nearest", truncate=CUT)
        self.raw[self.come - 1] = row
        reach = len(self.bell) // 2
        while self.smooth < (self.size if self.come == self.size else self.come - reach):
            around = np.clip(np.arange(-reach, reach + 1) + self.smooth, 0, self.size - 1)
            found = np.zeros_like(row)
            for place, weight in zip(around, self.bell):
                found += weight * self.raw[int(place)]
            self.rows[self.smooth] = found, self.task.decode(found[: self.task.outputs])
            self.smooth += 1
            self.raw.pop(self.smooth - reach - 1, None)

    def _fill(self) -> None:
        """Fill the rows of the scan that are complete, and forget what no other needs."""
        ready = []
        done = self.come if not any(self.blur) else self.smooth
        while self.waiting and self.high[self.waiting[-1]] < done:
            ready.append(self.waiting.pop())
        if ready:
            list(self.threads.map(self._row, ready))
        first = min((int(self.low[row]) for row in self.waiting), default=self.size)
        for place in [each for each in self.rows if each < first]:
            del self.rows[place]

    def _row(self, row: int) -> None:
        """Fill one row of the scan."""
        if not self.relation.straight:
            self._slanted(row)
        elif self.places[0].inside[row]:
            whole = any(view.shape[1] for view in self.views[1:])
            if whole or not self._from_cells(row):
                self._from_planes(row)

    def _from_cells(self, row: int) -> bool:
        """Labels alone, computing only cells in which corners differ; False if these are many."""
        rows, down, across = self.places
        below, above = (self.rows[int(each[row])] for each in (rows.low, rows.high))
        share = rows.share[row]
        corners = [below[1], above[1]] if share else [below[1]]
        for axis, places in enumerate((down, across)):
            if places.between:
                corners += [moved(each, axis) for each in corners]
        same = np.ones(below[1].shape, dtype=bool)
        for each in corners[1:]:
            same &= each == corners[0]
        found = below[1].take(across.low, 1).take(down.low, 0)
        inside = down.inside[:, None] & across.inside
        odd = np.flatnonzero(~same.take(across.low, 1).take(down.low, 0) & inside)
        if len(odd) > DENSE * found.size:
            return False
        for first in range(0, len(odd), PIECE):
            there = odd[first : first + PIECE]
            found.flat[there] = self.task.decode(self._at(there, below[0], above[0], share))
        self.views[0][row, 0] = found * inside
        return True

    def _at(self, there: Array, below: Array, above: Array, share: float) -> Array:
        """Logits (outputs, n) at flat places of a row of the scan."""
        _, down, across = self.places
        a, b = np.divmod(there, len(across.low))
        flat = [each[: self.task.outputs].reshape(self.task.outputs, -1) for each in (below, above)]
        lines = []
        for first in (down.low[a], down.high[a]):
            ends = []
            for second in (across.low[b], across.high[b]):
                place = first * below.shape[2] + second
                values = flat[0].take(place, axis=1)
                if share:
                    values = values * (1 - share) + flat[1].take(place, axis=1) * share
                ends.append(values)
            lines.append(ends[0] * (1 - across.share[b]) + ends[1] * across.share[b])
        return np.asarray(lines[0] * (1 - down.share[a]) + lines[1] * down.share[a])

    def _from_planes(self, row: int) -> None:
        """Everything of a row, by planes of one output each."""
        rows, down, across = self.places
        below, above = (self.rows[int(each[row])][0] for each in (rows.low, rows.high))
        share = rows.share[row]

        def planes() -> Iterator[Array]:
            for first, second in zip(below, above):
                plane = first * (1 - share) + second * share if share else first
                yield down.spread(across.spread(plane, 1), 0)

        self._reduced(row, planes(), down.inside[:, None] & across.inside)

    def _slanted(self, row: int) -> None:
        """The same where the scan's axes are not at right angles."""
        order, relation, edge = self.order, self.relation, self.relation.border
        plane = [len(places.low) for places in self.places[1:]]
        index = np.stack(np.meshgrid(row, *map(np.arange, plane), indexing="ij")).reshape(3, -1)
        linear, shift = relation.linear[np.ix_(order, order)], relation.shift[order]
        there = np.round(linear @ index[: len(order)] + shift[:, None], 9)
        slab = range(int(self.low[row]), int(self.high[row]) + 1)
        sizes = np.array([self.size, *next(iter(self.rows.values()))[1].shape])[: len(order), None]
        inside = ((there >= -edge) & (there <= sizes - 1 + edge)).all(0).reshape(plane)
        there = np.clip(there, 0, sizes - 1)
        there[0] -= slab.start
        held = [self.rows[each][0] for each in slab]

        def planes() -> Iterator[Array]:
            for output in range(len(held[0])):
                values = np.stack([each[output] for each in held])
                values = values.reshape(*values.shape[: len(order)])
                found = ndimage.map_coordinates(values, there, order=1, mode="nearest")
                yield found.reshape(plane)

        if inside.any():
            self._reduced(row, planes(), inside)

    def _reduced(self, row: int, planes: Iterator[Array], inside: Array) -> None:
        """Planes (a, b) of each output become label, probability and maps of a row."""
        logits = np.stack([next(planes) for _ in range(self.task.outputs)])
        self.views[0][row, 0] = self.task.decode(logits) * inside
        for place, plane in enumerate(planes):
            self.views[1][row, place] = plane * inside
        if self.kept is None and not len(self.doubt):
            return
        logits, kept = self.soften(logits), self.kept is not None
        if len(self.doubt):
            for place, values in enumerate(doubtful(self.task, logits, kept=kept)):
                np.copyto(self.views[2][row, place], values, where=inside)
        if kept:
            self.views[3][row] = self.task.probabilities(logits) * inside


def moved(array: Array, axis: int) -> Array:
    """The next value along an axis at each place, at the last its own."""
    index = np.minimum(np.arange(array.shape[axis]) + 1, array.shape[axis] - 1)
    return array.take(index, axis)


def bell(deviation: float) -> Array:
    """Weights of a Gaussian, summing to 1."""
    reach = int(CUT * deviation + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(deviation, 1e-9)) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)
