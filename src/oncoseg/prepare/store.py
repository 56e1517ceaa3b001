"""The store: prepared cases as compressed chunks, so that a patch is read without loading its case.

A folder a case with `image.b2nd` (M, *S) float16, `present.b2nd` (M, *S) bool, `label.b2nd`
(outputs, *S) uint8 membership in 1/255, where voxels differ `weight.b2nd` (1, *S) uint8 in 1/255,
and `case.json`, written last: without it a case is not there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from oncoseg import files
from oncoseg.blocks.appearance import Appearance
from oncoseg.blocks.surface import bounds
from oncoseg.case import Array, Box, Task
from oncoseg.errors import BadData, BadFile
from oncoseg.extras import require
from oncoseg.prepare.align import Aligned

CHUNK, BLOCK = 64, 32
POINTS = 4000
REMEDY = "run 'oncoseg prepare' again"
HEAD = 1 << 16
COMPUTED = (b"LazyArray", b"proxy-source")  # of which old versions of blosc2 run what stands there


@dataclass(frozen=True)
class Stored:
    """One prepared case, opened on use."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The case's name."""
        return str(self.record["case"])

    @property
    def patient(self) -> str:
        """Whom it belongs to; splits never cut through a patient."""
        return str(self.record["patient"])

    @property
    def labeled(self) -> bool:
        """Whether it has a label map."""
        return bool(self.record["labeled"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(self.record["shape"])

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The opened chunked arrays, by name."""
        blosc2 = require("blosc2", "train")
        names = ("image", "present", "label", *["weight"] * self.weighted)
        paths = {name: self.folder / f"{name}.b2nd" for name in names}
        try:
            for path in paths.values():
                with path.open("rb") as handle:
                    head = handle.read(HEAD)
                if any(word in head for word in COMPUTED):
                    raise BadFile(path, "is to be computed by what it holds", REMEDY)
            return {name: blosc2.open(str(path), mode="r") for name, path in paths.items()}
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            cause = f"holds arrays that cannot be read ({why})"
            raise BadFile(self.folder, cause, REMEDY) from error

    @cached_property
    def points(self) -> dict[str, Array]:
        """Region name -> voxel coordinates (n, dims) drawn evenly from it, where it is annotated.

        There are some thousands at most.
        """
        return {
            name: kept_in(np.array(points, dtype=np.int32).reshape(-1, len(self.shape)), self.boxes)
            for name, points in self.record["points"].items()
        }

    @property
    def boxes(self) -> tuple[Box, ...] | None:
        """The parts that are annotated, if not the whole case."""
        parts = self.record.get("boxes")
        if parts is None:
            return None
        return tuple(Box(self.id, tuple(start), tuple(stop)) for start, stop in parts)

    @property
    def weighted(self) -> bool:
        """Whether its voxels do not all count the same."""
        return bool(self.record.get("weighted"))

    def known(self, task: Task) -> tuple[str, ...]:
        """The regions that were looked for in it; of one without a label map, none."""
        return tuple(self.record.get("known", task.regions))

    def but(self, **changes: Any) -> Stored:
        """The same case with some of its record replaced, on disk as it was."""
        return Stored(self.folder, {**self.record, **changes})

    def read(self, name: str, box: tuple[slice, ...] | None = None) -> Array:
        """The array `image`, `present`, `label` or `weight`, which is there if it is `weighted`.

        It is whole or the part in `box` (spatial slices inside the array).
        """
        array = self.arrays[name]
        spatial = box or tuple(slice(0, size) for size in self.shape)
        whole = (slice(None), *spatial)
        return np.asarray(array[whole])


def write(
    folder: Path, aligned: Aligned, task: Task, record: Mapping[str, Any], seed: int
) -> Stored:
    """Write one case's arrays, then its record."""
    blosc2 = require("blosc2", "train")
    files.plain_name(folder.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.json").unlink(missing_ok=True)
    spatial = aligned.grid.shape
    weighted = aligned.weight.ndim > 0
    with np.errstate(over="ignore"):
        image = aligned.image.astype(np.float16)
    if not np.isfinite(image).all():
        cause = f"has intensities that are too large to be stored (above {np.finfo('f2').max:g})"
        raise BadData(f"case {folder.name} {cause}; normalise them in the plan")
    for name, array in (
        ("image", image),
        ("present", aligned.present),
        ("label", aligned.label),
        *([("weight", aligned.weight[None])] if weighted else []),
    ):
        target = folder / f"{name}.b2nd"
        target.unlink(missing_ok=True)
        try:
            blosc2.asarray(
                np.ascontiguousarray(array),
                urlpath=str(target),
                mode="w",
                chunks=(len(array), *(min(CHUNK, size) for size in spatial)),
                blocks=(1, *(min(BLOCK, size) for size in spatial)),
                cparams={"codec": blosc2.Codec.ZSTD, "clevel": 1, "nthreads": 1},
            )
        except RuntimeError as error:  # it does not say why
            cause = f"could not be written ({shutil.disk_usage(folder).free >> 20} MB are free)"
            remedy = "make room and go on, or write to another folder; finished cases stay"
            raise BadFile(target, cause, remedy) from error
    rng = np.random.default_rng(seed)
    full = {
        **record,
        "shape": list(spatial),
        "labeled": aligned.labeled,
        "weighted": weighted,
        "known": list(aligned.known),
        "points": {
            name: _points((member > 127) & (aligned.weight > 0), rng)
            for name, member in zip(task.regions, aligned.label[int(task.exclusive) :])
        },
    }
    # Without line ends, since thousands of points would be millions of lines.
    text = json.dumps(full, ensure_ascii=False, allow_nan=False) + "\n"
    files.write_text(folder / "case.json", text)
    return Stored(folder, full)


def kept_in(points: Array, boxes: Sequence[Box] | None) -> Array:
    """Those of `points` (n, dims) that lie in any of the boxes; all of them if there are none."""
    if boxes is None:
        return points
    inside = np.zeros(len(points), dtype=bool)
    for box in boxes:
        inside |= ((points >= box.start) & (points < box.stop)).all(axis=1)
    return points[inside]


def appearances(cases: Sequence[Stored]) -> list[Appearance]:
    """How the scans of cases look, where their preparation told."""
    return [case.record["appearance"] for case in cases if "appearance" in case.record]


def open_store(folder: Path) -> list[Stored]:
    """Every whole case in a store, by name."""
    cases = [_stored(path) for path in sorted(folder.glob("*/case.json"))]
    if not cases:
        raise BadData(f"{folder}: holds no prepared cases; run 'oncoseg prepare' first")
    return cases


def _stored(path: Path) -> Stored:
    """A case by its record; raises `BadFile` if that is not whole."""
    record = files.read_json(path)
    try:
        shape = record["shape"]
        sound = all(type(size) is int and size > 0 for size in shape) and len(shape) in (2, 3)
        sound = sound and isinstance(record["points"], dict) and {"patient", "labeled"} <= {*record}
        sound = sound and record["case"] == path.parent.name
    except (KeyError, TypeError) as error:
        raise BadFile(path, f"is not a whole record ({error})", REMEDY) from error
    if not sound:
        raise BadFile(path, "is not a whole record, or is of another case", REMEDY)
    return Stored(path.parent, record)


def splits(cases: list[Stored], folds: int, seed: int = 0, by: str = "patient") -> list[list[str]]:
    """Names of the labelled cases held out in each fold.

    Patients, or sites, are shuffled by `seed`, none is in two folds.
    """
    owner = owners(cases, by)
    patients = sorted({owner[case.id] for case in cases if case.labeled})
    if folds > len(patients):
        raise BadData(
            f"{folds} folds need as many labelled {by}s, but there are "
            f"{len(patients)}; ask for fewer folds"
        )
    order = np.random.default_rng(seed).permutation(len(patients))
    fold_of = {patients[patient]: place % folds for place, patient in enumerate(order)}
    return [
        [case.id for case in cases if case.labeled and fold_of[owner[case.id]] == fold]
        for fold in range(folds)
    ]


def owners(cases: Sequence[Stored], by: str) -> dict[str, str]:
    """Case -> the patient or site that no split cuts through.

    Raises `BadData` on a case without a site, and on a patient at two.
    """
    if by == "patient":
        return {case.id: case.patient for case in cases}
    found: dict[str, str] = {}
    for case in cases:
        site = str(case.record.get("site", ""))
        if not site:
            cause = f"case {case.id} has no site, so sites cannot be kept apart"
            raise BadData(f"{cause}; name it in cases.tsv")
        if found.setdefault(case.patient, site) != site:
            both = f"{found[case.patient]} and {site}"
            raise BadData(f"patient {case.patient} is at the sites {both}; name one of them")
    return {case.id: found[case.patient] for case in cases}


def _points(mask: Array, rng: np.random.Generator) -> list[list[int]]:
    """Voxels of a region to aim patches at: half drawn evenly from it, half from its lesions.

    A lesion is a piece whose voxels share a corner; each gets as many of that half as any other,
    however small it is. A region in one piece is drawn from evenly, each voxel once at most.
    """
    inside = np.flatnonzero(mask)
    near = np.ones((3,) * mask.ndim)
    box = bounds(mask)
    pieces, count = ndimage.label(mask[box], structure=near) if inside.size else (mask[box], 0)
    chosen = inside
    if count > 1:
        owner = pieces[mask[box]]  # in the order of `inside`
        order = np.argsort(owner, kind="stable")
        sizes = np.bincount(owner)[1:]
        half = min(POINTS, inside.size) // 2
        lesion = rng.permutation(np.resize(rng.permutation(count), half))
        place = (rng.random(half) * sizes[lesion]).astype(int) + (np.cumsum(sizes) - sizes)[lesion]
        evenly = rng.choice(inside, half, replace=False)
        chosen = np.concatenate([evenly, inside[order[place]]])
    elif inside.size > POINTS:
        chosen = np.sort(rng.choice(inside, POINTS, replace=False))
    return np.stack(np.unravel_index(chosen, mask.shape), axis=1).tolist()
