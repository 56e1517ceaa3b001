"""One look at each case: it is read and checked, and leaves what a plan is made of.

What was seen is written beside the prepared arrays, so that later a case is read again only if one
of its files has changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from oncoseg import __version__, files, memory
from oncoseg.bar import bar
from oncoseg.blocks import layouts
from oncoseg.blocks.extents import extents
from oncoseg.blocks.modalities import absolute
from oncoseg.case import Array, Case, Source, Task, Volume
from oncoseg.errors import BadData, OncosegError
from oncoseg.prepare.align import crop, working_grid
from oncoseg.prepare.plan import Fingerprint, Plan
from oncoseg.prepare.store import Stored
from oncoseg.read import digest, read_case

POINTS = 5000  # intensities of a modality that a case gives
NAMED = 5  # cases that cannot be used which an error names
KEPT = 1 << 30  # bytes of scans that are held from their reading to their writing
EACH = 3 << 30  # bytes that a thread may need for a large scan
UNKNOWN = 8 << 30  # bytes taken to be free where a system does not tell
ALONE = (".nii.gz", ".nii", ".nrrd", ".mha", *layouts.PICTURES)  # whole in one file

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Seen:
    """What a look at a case leaves.

    `record` (JSON) holds `content`, which tells whether any of its files has changed; shape and
    spacing on RAS axes, cut to the body; digests, and intensities inside labels, by modality; and
    how far across the parts of each label are.
    `case` is itself, where it was read and memory is left; `made` names the plan by which its
    arrays in the store were made, if they are there and nothing has changed.
    """

    source: Source
    record: Mapping[str, Any]
    case: Case | None = None
    made: str = ""


def each(work: Callable[[Given], Made], items: Iterable[Given], name: str) -> Iterable[Made]:
    """`work` done to every item by threads, as many as cores and memory allow, in order.

    What it calls (unpacking, hashing, resampling, packing) runs beside Python's lock.
    """
    items = list(items)
    room = (memory.available() or UNKNOWN) // EACH
    threads = max(1, min(os.cpu_count() or 1, room, len(items)))
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        yield from bar(pool.map(work, items), name, total=len(items))


class Looks:
    """Looks at the cases of a data set for a task; what an earlier preparation saw is in `store`.

    Scans of `KEPT` bytes in all stay in memory, for as long as their `Seen` does.
    """

    def __init__(self, task: Task, store: Path | None = None) -> None:
        self.task, self.store = task, store
        self.left = min(KEPT, (memory.available() or UNKNOWN) // 4) if store else 0
        self.lock = threading.Lock()
        self.sums: dict[Path, str] = {}

    def __call__(self, sources: Sequence[Source]) -> list[Seen]:
        """All cases, by name; raises `BadData` naming every one that cannot be used."""
        problems: list[str] = []
        seen: list[Seen] = []
        for result in each(self._tried, sources, "look"):
            if isinstance(result, Seen):
                seen.append(result)
            else:
                problems.append(str(result))
        if problems:
            more = len(problems) - NAMED
            listed = [*problems[:NAMED], *([f"and {more} more"] if more > 0 else [])]
            raise BadData(
                f"{len(problems)} of {len(sources)} cases cannot be used; mend or remove them, "
                f"'oncoseg check' lists all: {'; '.join(listed)}"
            )
        return seen

    def _tried(self, source: Source) -> Seen | OncosegError:
        try:
            return self._look(source)
        except OncosegError as error:
            return error

    def _look(self, source: Source) -> Seen:
        content = self._content(source)
        stored = self._stored(source, content)
        if stored:
            return Seen(source, stored.record["look"], made=stored.record["made"])
        case = read_case(source, modalities=self.task.modalities, labels=self.task.labels)
        grid = working_grid(crop(case, case.grid, list(case.images)))
        record = {
            "content": content,
            "shape": list(grid.shape),
            "spacing": list(grid.spacing),
            "digests": {name: digest(volume) for name, volume in case.images.items()},
            "intensities": {name: packed(values) for name, values in intensities(case).items()},
            "across": across(case.drawn, self.task.labels) if case.labeled else {},
        }
        return Seen(source, record, case if self._kept(case) else None)

    def _kept(self, case: Case) -> bool:
        volumes = [*case.images.values(), *case.labels.values()]
        size = sum(volume.array.nbytes for volume in volumes)
        with self.lock:
            fits = size <= self.left
            self.left -= size * fits
        return fits

    def _stored(self, source: Source, content: str) -> Stored | None:
        """The case as it lies in the store, if it is whole and its files are the same."""
        if self.store is None:
            return None
        folder = self.store / source.case
        try:
            stored = Stored(folder, files.read_json(folder / "case.json"))
            if stored.record["look"]["content"] == content and stored.record["made"]:
                shapes = {tuple(array.shape[1:]) for array in stored.arrays.values()}
                return stored if shapes == {stored.shape} else None
        except (OncosegError, KeyError, TypeError):
            pass  # it is not there, of an earlier version, or damaged: prepared anew
        return None

    def _content(self, source: Source) -> str:
        """One digest of all that a case's arrays and fingerprint follow from, but the plan."""
        weights = [one for one in source.weights if isinstance(one, Path)]
        paths = [*source.images.values(), *source.labels.values(), *weights]
        said = {
            "version": __version__,
            "task": [list(self.task.modalities), dict(self.task.labels)],
            "case": repr(replace(source, images={}, labels={}, weights=())),
            "weights": [one for one in source.weights if not isinstance(one, Path)],
            "names": [list(source.images), list(source.labels)],
            "files": [[self._sum(file) for file in belonging(path)] for path in paths],
        }
        return _digest(said)

    def _sum(self, path: Path) -> str:
        """The checksum of a file, taken once even if it belongs to many cases."""
        if path not in self.sums:
            self.sums[path] = files.sha256(path) if path.is_file() else "none"
        return self.sums[path]


def belonging(path: Path) -> list[Path]:
    """The files that an image is read from: itself, or all beside a header or a slice."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if layouts.ending(path) in ALONE or not path.is_file():
        return [path]
    return sorted(file for file in path.parent.iterdir() if file.is_file())


def gathered(seen: Sequence[Seen]) -> Fingerprint:
    """What was seen of all cases together; raises `BadData` if some are 2-D and some are 3-D."""
    records = [one.record for one in seen]
    if len({len(record["shape"]) for record in records}) > 1:
        raise BadData("some cases are 2-D and some are 3-D; prepare them apart")
    samples: dict[str, list[Array]] = {}
    for record in records:
        for name, values in record["intensities"].items():
            samples.setdefault(name, []).append(unpacked(values))
    sizes: dict[str, list[float]] = {}
    for record in records:
        for name, size in record["across"].items():
            sizes.setdefault(name, []).append(size)
    shapes = [tuple(record["shape"]) for record in records]
    return Fingerprint(shapes, [tuple(record["spacing"]) for record in records], samples, sizes)


def refuse_duplicates(seen: Sequence[Seen]) -> None:
    """Raise `BadData` on the same image under two names."""
    first: dict[str, str] = {}
    for one in seen:
        for name, found in one.record["digests"].items():
            other = first.setdefault(found, one.source.case)
            if other != one.source.case:
                raise BadData(
                    f"cases {other} and {one.source.case} hold the same {name} image "
                    f"({one.source.images[name].name}); remove one of them, or"
                    " a patient would be trained on and tested on"
                )


def intensities(case: Case) -> dict[str, Array]:
    """Modality of absolute units -> intensities inside any label drawn on its own grid.

    There are 5000 at most, drawn alike whatever other modalities there are.
    """
    values = {}
    for name, volume in case.images.items():
        label = case.labels.get(name)
        if not absolute(name) or label is None or label.array.shape != volume.array.shape:
            continue
        known = (label.array > 0) & (label.array != (case.ignore or -1))
        inside = volume.array[known].astype(np.float32)
        if inside.size:
            rng = np.random.default_rng(0)
            values[name] = rng.choice(inside, min(POINTS, inside.size), replace=False)
    return values


def across(drawn: Volume, labels: Mapping[str, int]) -> dict[str, float]:
    """Label -> how far across its parts are (mm), of those that are drawn.

    2 d V / S, with the surface S of voxels' faces and d dimensions: the side of a cube, 0.8 of the
    diameter of a disc, twice the width of a vessel.
    """
    array, spacing = drawn.array, np.array(drawn.grid.spacing)[: drawn.array.ndim]
    boxes, found = extents(array), {}
    for name, value in labels.items():
        if value not in boxes:
            continue
        inside = array[boxes[value]] == value
        faces = [
            np.count_nonzero(np.diff(np.pad(inside, 1), axis=axis)) / spacing[axis]
            for axis in range(array.ndim)
        ]
        found[name] = float(2 * array.ndim * np.count_nonzero(inside) / sum(faces))
    return found


def arrays_of(plan: Plan) -> dict[str, Any]:
    """What of a plan the arrays of a case follow from; patch, strides and batch do not matter."""
    task = plan.task
    return {
        "modalities": list(task.modalities),
        "labels": dict(task.labels),
        "regions": {name: list(members) for name, members in task.regions.items()},
        "spacing": list(task.spacing),
        "normalisation": plan.as_dict()["normalisation"],
        "stretch": plan.as_dict().get("stretch"),
    }


def named(plan: Plan) -> str:
    """One digest of `arrays_of` a plan."""
    return _digest(arrays_of(plan))


def what_stays(seen: Sequence[Seen], plan: Plan, earlier: Path) -> str:
    """What of an earlier preparation stays, or why nothing does; "" if there was none."""
    how = named(plan)
    staying = sum(one.made == how for one in seen)
    if not any(one.made not in ("", how) for one in seen):
        return f"{staying} of {len(seen)} cases are prepared already" if staying else ""
    try:
        before = arrays_of(Plan.read(earlier))
    except OncosegError:
        before = {}
    now = arrays_of(plan)
    differs = [f"{key} was {was}, is {now[key]}" for key, was in before.items() if was != now[key]]
    why = "; ".join(differs) or "they were made by another one"
    return f"all cases are prepared again, since the plan has changed: {why}"


def packed(values: Array) -> str:
    """float32 numbers as text, exactly."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> Array:
    """Inverse of `packed`."""
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)


def _digest(said: Mapping[str, Any]) -> str:
    text = json.dumps(said, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
