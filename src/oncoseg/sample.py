"""Sample: patches from prepared cases, foreground seen often enough.

The same for the same seed and step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from oncoseg.blocks.annotated import outputs
from oncoseg.case import Array, Batch, Box, Prompts, Task
from oncoseg.errors import BadData, BadRun
from oncoseg.prepare import Stored

REMEDY = {
    "labeled": "give labels to at least one",
    "unlabeled": "add scans without labels, or hide some with --labelled N",
}


@dataclass(frozen=True)
class Sampler:
    """Draws batches of patches.

    Which ones depends only on `seed` and the step, so a resumed run sees the same.

    A share `foreground` of the patches (at least one a batch where anything is labelled) holds a
    point of a region drawn evenly among the regions of its case; where only boxes are annotated,
    the others hold a voxel of a box. `patch` may exceed the task's, for augmentations that need a
    margin. `needs` is the method's: cases are drawn from the labelled ones if it needs those alone;
    half of each batch from the labelled and half from the others if it needs both; else from all,
    and no label is read. `share` (i, n) reads each n-th item of a batch, from the i-th on: what one
    of n processes learns from.
    """

    cases: Sequence[Stored]
    task: Task
    patch: tuple[int, ...]
    batch: int
    foreground: float = 0.5
    seed: int = 0
    balanced: bool = False
    needs: tuple[str, ...] = ("labeled",)
    share: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        self._check_share()
        for need, there in (("labeled", True), ("unlabeled", False)):
            if need in self.needs and not any(case.labeled == there for case in self.cases):
                kind = "labelled" if there else "unlabelled"
                raise BadData(
                    f"no training case is {kind}, which this method needs; {REMEDY[need]}"
                )

    def _check_share(self) -> None:
        """Each process must have as many items as the others, and of each half where it is so."""
        halves = 2 if {"labeled", "unlabeled"} <= set(self.needs) else 1
        parts = self.share[1] * halves
        if self.share[1] > 1 and self.batch % parts:
            what = " with labels and without" if halves > 1 else ""
            raise BadRun(
                f"a batch of {self.batch} cannot be shared evenly{what} by {self.share[1]} "
                f"processes; give --batch {-(-self.batch // parts) * parts}"
            )

    def __call__(self, step: int) -> Batch:
        """The batch of a step, on the CPU."""
        rng = np.random.default_rng([self.seed, step])
        chosen = self._chosen(rng)
        aimed = rng.random(len(chosen)) < self.foreground
        aimed[0] |= self.foreground > 0
        places = []
        for case, aim in zip((self.cases[index] for index in chosen), aimed):
            places.append(_box(case, self.patch, self._target(case, bool(aim), rng), rng))
        own = slice(self.share[0], None, self.share[1])
        chosen, places = chosen[own], places[own]
        items = [self._item(self.cases[index], box) for index, box in zip(chosen, places)]
        image, present, label, weight, labeled = (np.stack(column) for column in zip(*items))
        whole = torch.from_numpy(image)
        return Batch(
            image=whole,
            present=torch.from_numpy(present),
            label=torch.from_numpy(label),
            weight=torch.from_numpy(weight),
            labeled=torch.from_numpy(labeled),
            annotated=torch.tensor([outputs(self.task, self._known(case)) for case in chosen]),
            domain=torch.zeros(len(chosen), dtype=torch.long),
            prompts=Prompts.none(whole),
        )

    def _known(self, index: int) -> Collection[str]:
        """The regions that the shown label of a case says something of; all where none is shown."""
        case = self.cases[index]
        return case.known(self.task) if case.labeled else self.task.regions

    def _chosen(self, rng: np.random.Generator) -> list[int]:
        """Which cases, as indices, the labelled ones first where the method needs both kinds."""
        labelled = np.array([case.labeled for case in self.cases])
        if "labeled" not in self.needs:
            return self._draw(np.flatnonzero(labelled | ~labelled), self.batch, rng)
        if "unlabeled" not in self.needs:
            return self._draw(np.flatnonzero(labelled), self.batch, rng)
        half = -(-self.batch // 2)
        known = self._draw(np.flatnonzero(labelled), half, rng)
        return known + self._draw(np.flatnonzero(~labelled), max(1, self.batch - half), rng)

    def _draw(self, pool: Array, count: int, rng: np.random.Generator) -> list[int]:
        """Some of a pool: all equally likely or, if `balanced`, all sites."""
        sites = [self.cases[index].record.get("site", "") for index in pool]
        counts = Counter(sites) if self.balanced else Counter(dict.fromkeys(sites, 1))
        share = np.array([1 / counts[site] for site in sites])
        again = len(pool) < count
        return [int(index) for index in rng.choice(pool, count, again, share / share.sum())]

    def _item(self, case: Stored, box: Sequence[int]) -> tuple[Array, ...]:
        cut = tuple(slice(max(0, start), start + size) for start, size in zip(box, self.patch))
        cut = tuple(
            slice(piece.start, min(piece.stop, size)) for piece, size in zip(cut, case.shape)
        )
        pad = tuple(
            (piece.start - start, start + size - piece.stop)
            for piece, start, size in zip(cut, box, self.patch)
        )
        image = np.pad(case.read("image", cut).astype(np.float32), ((0, 0), *pad))
        present = np.pad(case.read("present", cut), ((0, 0), *pad))
        label = np.zeros((self.task.outputs, *self.patch), np.float32)
        shown = case.labeled and "labeled" in self.needs
        if shown:
            label = np.pad(case.read("label", cut).astype(np.float32) / 255, ((0, 0), *pad))
        weight = np.pad(_annotated(case, cut, shown), ((0, 0), *pad))
        return image, present, label, weight, np.array(shown)

    def _target(self, case: Stored, aimed: bool, rng: np.random.Generator) -> Array | None:
        if not (case.labeled and "labeled" in self.needs):
            return None
        filled = [name for name, points in case.points.items() if len(points)] if aimed else []
        if filled:
            points = case.points[filled[rng.integers(len(filled))]]
            return points[rng.integers(len(points))]
        return _inside(case.boxes, rng) if case.boxes else None


def _inside(boxes: Sequence[Box], rng: np.random.Generator) -> Array:
    """A voxel of one of the boxes, since elsewhere nothing is known."""
    box = boxes[int(rng.integers(len(boxes)))]
    return rng.integers(box.start, box.stop)


def _annotated(case: Stored, cut: tuple[slice, ...], shown: bool) -> Array:
    """Weight (1, *S) float32 of a part of a case.

    It is 1 inside the scan; where a label is shown, what voxels count, inside what is annotated.
    """
    shape = tuple(piece.stop - piece.start for piece in cut)
    counts = np.ones((1, *shape), np.float32)
    if shown and case.weighted:
        counts = case.read("weight", cut).astype(np.float32) / 255
    if not shown or case.boxes is None:
        return counts
    weight = np.zeros((1, *shape), np.float32)
    for box in case.boxes:
        edges = zip(cut, box.start, box.stop)
        inside = [slice(max(0, a - c.start), max(0, b - c.start)) for c, a, b in edges]
        weight[tuple([slice(None), *inside])] = 1  # noqa: C409 - Python 3.10 needs a tuple here
    return weight * counts


def _box(
    case: Stored, patch: tuple[int, ...], target: Array | None, rng: np.random.Generator
) -> list[int]:
    """First voxel of a patch: anywhere, or so that `target` lies in its middle half.

    Small cases are centred.
    """
    first = []
    for axis, (size, length) in enumerate(zip(case.shape, patch)):
        if size <= length:
            first.append(-((length - size) // 2))
        elif target is None:
            first.append(int(rng.integers(0, size - length + 1)))
        else:
            start = (
                int(target[axis]) - length // 2 + int(rng.integers(-(length // 4), length // 4 + 1))
            )
            first.append(int(np.clip(start, 0, size - length)))
    return first


def stream(
    sampler: Sampler, start: int, stop: int, workers: int = 2
) -> Generator[tuple[int, Batch], None, None]:
    """Steps and their batches in order, read ahead by threads.

    Closing the generator stops the reading.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="sample") as pool:
        ahead = {
            step: pool.submit(sampler, step)
            for step in range(start, min(stop, start + 2 * workers))
        }
        try:
            for step in range(start, stop):
                batch = ahead.pop(step).result()
                later = step + 2 * workers
                if later < stop:
                    ahead[later] = pool.submit(sampler, later)
                yield step, batch
        finally:
            for waiting in ahead.values():
                waiting.cancel()
