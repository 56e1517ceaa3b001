"""Match lesions over visits: which is which, and which are new, gone, split or merged.

Each lesion keeps the size that it has on its own scan; only where it lies is compared. Its voxels
are looked up in the other scan, both ways, so that slices of any thickness serve alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from oncoseg.blocks.segments import Segment, lesions
from oncoseg.blocks.sizes import boundary_ml
from oncoseg.blocks.target_lesions import Measured, measure
from oncoseg.case import Array, Grid, Prediction

STRONG = 1 / 3  # of the smaller lesion's voxels within the other: surely one lesion
NEAR = 0.5  # of the smaller one's voxels within the tolerance of the other
SEEN = 0.9  # of a lesion's voxels within the other scan's field of view
TOLERANCE = 2.0  # mm, at the least

SHOWN, GONE, SMALL, UNSEEN, MERGED = "shown", "gone", "too small", "not covered", "merged"


@dataclass(frozen=True)
class Lesion:
    """A lesion of one visit: its name there, its size, and where its voxels are (N, 3) in RAS mm.

    `error_ml` is half the volume of its boundary voxels, those with a face outside: what its volume
    may be wrong by if its edge is known to half a voxel.
    """

    name: str
    region: str
    size: Measured
    error_ml: float
    places: Array = field(repr=False)
    value: int = 0

    @property
    def cut(self) -> bool:
        """Whether it reaches the edge of its scan, so that it may go on outside."""
        return self.size.cut


@dataclass(frozen=True)
class Visit:
    """One scan with its lesions. `matrix` takes points of the last visit to this one (RAS mm).

    `error_mm` is what the matrix may be wrong by; `maps` holds for each region where its lesions
    are (*S), each with its own `value`, and `masks` all that was marked.
    """

    grid: Grid
    lesions: tuple[Lesion, ...]
    matrix: Array
    error_mm: float
    maps: Mapping[str, Array] = field(repr=False)
    masks: Mapping[str, Array] = field(repr=False)

    @classmethod
    def of(cls, prediction: Prediction, matrix: Array, error_mm: float = 0.0) -> Visit:
        """A prediction, and where points of the last visit lie in it."""
        pieces = lesions(prediction)
        found = tuple(_lesion(piece, prediction.grid) for piece in pieces)
        maps = {piece.region: piece.source for piece in pieces}
        return cls(prediction.grid, found, matrix, error_mm, maps, prediction.masks)


@dataclass(frozen=True)
class State:
    """A track at one visit: how it is there, its lesions if it is shown, into which it merged."""

    kind: str
    lesions: tuple[Lesion, ...] = ()
    into: str = ""

    @property
    def volume(self) -> float:
        """Of all its lesions, in ml."""
        return sum(one.size.volume for one in self.lesions)

    @property
    def error(self) -> float:
        """Of the volume, in ml; lesions of one visit err alike, so theirs add up."""
        return sum(one.error_ml for one in self.lesions)


@dataclass(frozen=True)
class Track:
    """One lesion over all visits, the first visit first; its `id` stays whatever is added later.

    A letter an id: numbers are the order by size at one visit, `ET 2`, letters one lesion, `ET B`.
    """

    id: str
    region: str
    states: tuple[State, ...]


def _lesion(piece: Segment, grid: Grid) -> Lesion:
    index = np.argwhere(piece.part) + [side.start for side in piece.box]
    places = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    size = measure(piece, grid)
    return Lesion(
        piece.name, piece.region, size, boundary_ml(piece.part, grid), places, piece.value
    )


@dataclass(frozen=True)
class Look:
    """How one visit is seen from another: `matrix` takes places there, `near` is the tolerance."""

    there: Visit
    matrix: Array
    near: float

    @classmethod
    def between(cls, here: Visit, there: Visit) -> Look:
        """From one visit to another, both known by the last."""
        matrix = there.matrix @ np.linalg.inv(here.matrix)
        return cls(there, matrix, max(TOLERANCE, math.hypot(here.error_mm, there.error_mm)))

    def index(self, lesion: Lesion) -> tuple[Array, Array]:
        """Voxels of the other scan (M, 3) on which a lesion's lie, and its share that does."""
        matrix = np.linalg.inv(self.there.grid.affine) @ self.matrix
        index = np.round(lesion.places @ matrix[:3, :3].T + matrix[:3, 3]).astype(int)
        inside = ((index >= 0) & (index < self.there.grid.shape)).all(axis=1)
        return index[inside], inside

    def covers(self, lesion: Lesion) -> bool:
        """Whether the other scan shows the place at all."""
        return bool(self.index(lesion)[1].mean() >= SEEN)

    def shares(self, lesion: Lesion) -> dict[int, float]:
        """Lesions there by value -> the share of this one's voxels within them."""
        index, inside = self.index(lesion)
        if lesion.region not in self.there.maps or not len(index):
            return {}
        values, counts = np.unique(
            self.there.maps[lesion.region][tuple(index.T)], return_counts=True
        )
        return {int(v): int(n) / len(inside) for v, n in zip(values, counts) if v}

    def trace(self, lesion: Lesion) -> bool:
        """Whether a piece of the region is marked there that is too small to be a lesion."""
        index = tuple(self.index(lesion)[0].T)
        known = [one.value for one in self.there.lesions if one.region == lesion.region]
        marked = self.there.masks[lesion.region][index]
        if known:
            marked = marked & ~np.isin(self.there.maps[lesion.region][index], known)
        return bool(marked.any())

    def close(self, lesion: Lesion, other: Lesion) -> bool:
        """Whether half of the smaller one lies within the tolerance of the other."""
        mine = lesion.places @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        few, many = sorted((mine, other.places), key=len)
        reach = self.near + math.hypot(*self.there.grid.spacing) / 2
        low, high = many.min(axis=0) - reach, many.max(axis=0) + reach
        if ((few < low) | (few > high)).any(axis=1).mean() > 1 - NEAR:
            return False
        apart, _ = cKDTree(many).query(few, distance_upper_bound=reach)
        return bool(np.isfinite(apart).mean() >= NEAR)


def links(here: Visit, there: Visit) -> list[tuple[int, int]]:
    """Which lesions of two visits are one: pairs of their places in `lesions` of both.

    A third of the smaller one's voxels in the other is enough. Less, or lying near, counts only
    where neither has such a partner: two neighbours are not made one by an error of alignment.
    """
    to, back = Look.between(here, there), Look.between(there, here)
    shares: dict[tuple[int, int], float] = {}
    for look, reverse in ((to, False), (back, True)):
        mine, other = (there, here) if reverse else (here, there)
        for row, lesion in enumerate(mine.lesions):
            values = {
                one.value: column
                for column, one in enumerate(other.lesions)
                if one.region == lesion.region
            }
            for value, share in look.shares(lesion).items():
                if value in values:  # others are below the smallest lesion
                    pair = (values[value], row) if reverse else (row, values[value])
                    shares[pair] = max(shares.get(pair, 0.0), share)
    strong = [pair for pair, share in shares.items() if share >= STRONG]
    ours, theirs = ({pair[side] for pair in strong} for side in (0, 1))
    weak = [
        (row, column)
        for row, column in _left(here, there, ours, theirs)
        if (row, column) in shares or to.close(here.lesions[row], there.lesions[column])
    ]
    return sorted(strong + weak)


def _left(here: Visit, there: Visit, ours: set[int], theirs: set[int]) -> Iterator[tuple[int, int]]:
    """Pairs of one region in which neither has a partner."""
    for row, one in enumerate(here.lesions):
        for column, other in enumerate(there.lesions):
            if row not in ours and column not in theirs and one.region == other.region:
                yield row, column


def groups(pairs: Sequence[tuple[int, int]]) -> list[tuple[list[int], list[int]]]:
    """Pairs -> lesions before and after that hang together, in order of the first before."""
    found: list[tuple[set[int], set[int]]] = []
    for before, after in pairs:
        joined = ({before}, {after})
        rest = []
        for one in found:
            if one[0] & joined[0] or one[1] & joined[1]:
                joined = (one[0] | joined[0], one[1] | joined[1])
            else:
                rest.append(one)
        found = [*rest, joined]
    return sorted((sorted(before), sorted(after)) for before, after in found)


class Course:
    """Visits, the first one first, and what `follow` finds of them; links are found once."""

    def __init__(self, visits: Sequence[Visit]) -> None:
        self.visits = visits
        self._links: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def links(self, early: int, number: int) -> list[tuple[int, int]]:
        """As `links` of two visits by their numbers."""
        if (early, number) not in self._links:
            self._links[early, number] = links(self.visits[early], self.visits[number])
        return self._links[early, number]

    def owners(self, number: int, states: Mapping[str, Sequence[State]]) -> dict[int, str]:
        """Lesions of a visit, by place, that go on with a track -> its id."""
        owner: dict[int, str] = {}
        for early in range(number - 1, -1, -1):
            before = self.visits[early].lesions
            held = {
                lesion.name: name
                for name, known in states.items()
                if not any(one.kind in (SHOWN, MERGED) for one in known[early + 1 :])
                for lesion in known[early].lesions
            }
            pairs = [
                (row, column)
                for row, column in self.links(early, number)
                if before[row].name in held and column not in owner
            ]
            for rows, columns in groups(pairs):
                largest = max(rows, key=lambda row: before[row].size.volume)
                owner |= dict.fromkeys(columns, held[before[largest].name])
        return owner

    def state(
        self, number: int, name: str, states: Sequence[State], owner: Mapping[int, str]
    ) -> State:
        """How a track of earlier visits is at this one."""
        visit = self.visits[number]
        shown = tuple(visit.lesions[place] for place, one in sorted(owner.items()) if one == name)
        if shown or states[-1].kind == MERGED:
            return State(SHOWN, shown) if shown else states[-1]
        last = max(early for early, one in enumerate(states) if one.lesions)
        before = {lesion.name for lesion in states[last].lesions}
        for row, column in self.links(last, number):
            if self.visits[last].lesions[row].name in before and column in owner:
                return State(MERGED, into=owner[column])
        return self.absent(last, number, states[last].lesions)

    def absent(self, number: int, other: int, lesions: Sequence[Lesion]) -> State:
        """How the place of lesions of a visit is at another one, at which they are not shown."""
        look = Look.between(self.visits[number], self.visits[other])
        if not all(look.covers(one) for one in lesions):
            return State(UNSEEN)
        return State(SMALL if any(look.trace(one) for one in lesions) else GONE)


def follow(visits: Sequence[Visit]) -> list[Track]:
    """Every lesion over all visits (the first visit first), by region and id.

    A lesion that splits stays one track of several lesions; of those that merge the largest goes
    on. What was not shown at the visit before is looked for at the ones before that.
    """
    course = Course(visits)
    regions: dict[str, str] = {}
    states: dict[str, list[State]] = {}
    for number, visit in enumerate(visits):
        owner = course.owners(number, states)
        for name, known in states.items():
            known.append(course.state(number, name, known, owner))
        for place, lesion in enumerate(visit.lesions):
            if place not in owner:
                name = _named(lesion.region, regions.values())
                regions[name] = lesion.region
                before = [course.absent(number, early, [lesion]) for early in range(number)]
                states[name] = [*before, State(SHOWN, (lesion,))]
    order = {region: rank for rank, region in enumerate(visits[-1].masks)}
    tracks = [Track(name, regions[name], tuple(known)) for name, known in states.items()]
    return sorted(tracks, key=lambda one: order[one.region])


def _named(region: str, taken: Iterable[str]) -> str:
    """`ET A` to `ET Z`, `ET AA`, ..."""
    count = sum(one == region for one in taken)
    letters = ""
    while count >= 0:
        letters = chr(ord("A") + count % 26) + letters
        count = count // 26 - 1
    return f"{region} {letters}"
