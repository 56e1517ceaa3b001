"""One scan: brought to the plan's grid, inferred window by window, reduced to labels on its own."""

from __future__ import annotations

import math
import operator
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oncoseg import memory
from oncoseg.bar import bar
from oncoseg.case import Array, Case, Grid, Prediction
from oncoseg.errors import BadData
from oncoseg.predict.doubt import names
from oncoseg.predict.load import Disk, Load, lane
from oncoseg.predict.native import THREADS, Native, Soften
from oncoseg.predict.window import Infer, Progress, Room, begun, stream, windows
from oncoseg.prepare.align import Aligned, align
from oncoseg.prepare.plan import Plan
from oncoseg.threads import started


@dataclass(frozen=True)
class Scan:
    """A case brought to the plan's grid, without the arrays that it was read as."""

    case: str
    grid: Grid
    images: dict[str, Path]
    channels: dict[str, int]
    notes: tuple[str, ...]
    aligned: Aligned
    stored: tuple[int, ...]
    reading: float

    @classmethod
    def of(cls, case: Case, plan: Plan, took: float = 0.0) -> Scan:
        """Align a case, which `took` so many seconds to read."""
        began = time.perf_counter()
        used = {name: case.images[name] for name in plan.task.modalities if name in case.images}
        paths = {name: image.path for name, image in used.items()}
        channels = {name: one.channel for name, one in used.items() if one.channel is not None}
        aligned = align(case, plan)
        stored = tuple(image.array.nbytes for image in case.images.values())
        took += time.perf_counter() - began
        return cls(case.id, case.grid, paths, channels, case.notes, aligned, stored, took)


class Segmenter:
    """A model at work on scans: `plan`, an engine, and what is to be kept.

    `maps` names the channels that `infer` gives after the logits; `keep`: predictions hold the
    probability of each region, of logits after `soften`; `doubt`: they hold maps of how sure those
    are. Where more memory would be taken than `limit` (bytes; 0: than the machine has), sums go to
    files in `folder`, if it is given, and what does not fit even so is refused. `tell` hears what
    each scan takes, after its first window.
    """

    def __init__(
        self,
        plan: Plan,
        infer: Infer,
        *,
        overlap: float = 0.5,
        maps: Sequence[str] = (),
        keep: bool = True,
        doubt: bool = False,
        soften: Soften = lambda logits: logits,
        limit: int = 0,
        folder: Path | None = None,
        bar: bool = False,
        tell: Callable[[Scan, Load], None] = lambda scan, load: None,
    ) -> None:
        self.plan, self.infer, self.overlap, self.maps = plan, infer, overlap, tuple(maps)
        self.keep, self.soften, self.limit, self.folder = keep, soften, limit, folder
        self.doubts = names(plan.task, kept=keep) if doubt else ()
        self.tell, self.bar = tell, bar
        self.engine = self.base = 0
        self.threads = started(THREADS)

    def __call__(self, scan: Scan) -> Prediction:
        """The prediction of a scan, on its own grid.

        Raises `BadData` if it does not fit in memory, or the network gives no numbers.
        """
        begun(self.infer)
        run = Run(self, scan)
        aligned, axis = scan.aligned, run.load.axis
        began, spent = time.perf_counter(), 0.0
        present = np.moveaxis(aligned.present, 1 + axis, 0)
        blocks = stream(
            run.infer,
            aligned.image,
            aligned.present,
            self.plan.task.patch,
            overlap=self.overlap,
            axis=axis,
            progress=_bar(scan.case) if self.bar else iter,
            room=run,
        )
        native: Native | None = None
        for block in blocks:
            start = time.perf_counter()
            native = native or run.native()
            rows = present[native.come : native.come + len(block)]
            native.add(block, np.asarray(rows.any(axis=1)))
            run.release()
            spent += time.perf_counter() - start
        assert native is not None
        took = {"read": scan.reading, "infer": time.perf_counter() - began - spent}
        return self._prediction(scan, native, {**took, "resample": spent})

    @property
    def room(self) -> int:
        """Bytes that the process may hold; without bounds where the system does not tell."""
        left = memory.available()
        return self.limit or (memory.resident() + left if left else sys.maxsize)

    def _prediction(self, scan: Scan, native: Native, seconds: dict[str, float]) -> Prediction:
        task, voxels = self.plan.task, scan.aligned.grid.voxel_volume / scan.grid.voxel_volume
        nothing = np.zeros((0, *scan.grid.shape), dtype=np.float16)
        used = tuple(scan.images)
        missing = tuple(name for name in task.modalities if name not in used)
        return Prediction(
            case=scan.case,
            task=task,
            grid=scan.grid,
            label=native.label,
            probability=nothing if native.kept is None else native.kept,
            used=used,
            missing=missing,
            images=scan.images,
            channels=scan.channels,
            notes=(*scan.notes, *_notes(used, missing)),
            maps={**dict(zip(self.maps, native.maps)), **dict(zip(self.doubts, native.doubt))},
            confidence=native.confidence.values(voxels),
            seconds=seconds,
        )


class Run(Room):
    """A segmenter on one scan: the engine, spared where nothing is to see, and room for arrays.

    A window in which nothing is present is not inferred, since all of it becomes background; one
    that is constant, as air is, is inferred once for all that equal it. Whether sums are held in
    memory or on disk is decided once the first window showed what the engine takes.
    """

    def __init__(self, owner: Segmenter, scan: Scan) -> None:
        self.owner, self.scan = owner, scan
        self.held: Room = Room()
        self.air: dict[bytes, Array] = {}
        self.decided = False
        held = scan.aligned.image.nbytes + scan.aligned.present.nbytes
        owner.base = owner.base or max(1, memory.resident() - held)
        self.load = self._load()
        self._fitting()

    def _load(self) -> Load:
        owner, task, aligned = self.owner, self.owner.plan.task, self.scan.aligned
        channels = task.outputs + len(owner.maps)
        working = tuple(map(max, aligned.grid.shape, task.patch))
        axis = lane(working, task.patch, channels)
        return Load(
            modalities=task.inputs,
            outputs=task.outputs,
            maps=len(owner.maps),
            regions=len(task.regions),
            exclusive=task.exclusive,
            working=working,
            native=self.scan.grid.shape,
            patch=task.patch,
            axis=axis,
            along=aligned.relation(self.scan.grid).axes.index(axis),
            kept=owner.keep,
            doubts=len(owner.doubts),
            air=self._repeated(),
            engine=owner.engine or 4 * channels * math.prod(task.patch),
            stored=sum(self.scan.stored),
            largest=max(self.scan.stored),
        )

    def _repeated(self) -> bool:
        """Whether two windows are constant, and alike."""
        task, aligned = self.owner.plan.task, self.scan.aligned
        if any(map(operator.lt, aligned.grid.shape, task.patch)):
            return False
        seen = set()
        for box in windows(aligned.grid.shape, task.patch, self.owner.overlap):
            inside = (slice(None), *box)
            key = constant(aligned.image[inside], aligned.present[inside])
            if key and key in seen:
                return True
            seen.add(key)
        return False

    def _fitting(self) -> Load:
        """The load, with sums on disk if it fits so alone; raises `BadData` if it does not."""
        owner, load = self.owner, self.load
        limit = owner.room
        chosen = [load, replace(load, disk=True)] if owner.folder else [load]
        for each in chosen:
            if owner.base + each.most <= limit:
                return each
        parts = {"program": owner.base, **each.parts()}
        order = sorted(parts, key=lambda name: -parts[name])[:3]
        largest = ", ".join(f"{name} {memory.said(parts[name])}" for name in order)
        needs = memory.said(owner.base + each.most)
        disk = ", even with its sums on disk" if each.disk else ""
        raise BadData(
            f"case {self.scan.case}: takes {needs} of memory{disk} ({largest}), and there are "
            f"{memory.said(limit)}; allow more with --memory, cut the scan, or use a model with a "
            "smaller patch or fewer classes"
        )

    def zeros(self, shape: tuple[int, ...], kind: type = np.float32) -> Array:
        """An array of zeros in memory or on disk; the first call decides, and tells the peak."""
        if not self.decided:
            owner = self.owner
            self.load = replace(self.load, engine=owner.engine)
            self.load = self._fitting()
            if self.load.disk and owner.folder:
                self.held = Disk(owner.folder)
            self.decided = True
            owner.tell(self.scan, self.load)
        return self.held.zeros(shape, kind)

    def release(self) -> None:
        """Pass it on."""
        self.held.release()

    def native(self) -> Native:
        """What takes the rows, on the scan's own grid."""
        owner, scan, task = self.owner, self.scan, self.owner.plan.task
        shape, doubts = (len(task.regions), *scan.grid.shape), (len(owner.doubts), *scan.grid.shape)
        return Native(
            task,
            scan.aligned.relation(scan.grid),
            scan.aligned.grid.shape,
            scan.grid.shape,
            self.load.axis,
            threads=owner.threads,
            kept=self.zeros(shape, np.float16) if owner.keep else None,
            doubt=self.zeros(doubts, np.uint8) if owner.doubts else None,
            maps=len(owner.maps),
            soften=owner.soften,
        )

    def infer(self, image: Array, present: Array) -> Array:
        """Logits and maps (1, C, *patch) of a window."""
        if not present.any():
            return np.broadcast_to(np.float32(0), (1, self.load.channels, *image.shape[2:]))
        key = constant(image[0], present[0]) if self.load.air else b""
        if key and key in self.air:
            return self.air[key]
        values = self._inferred(image, present)
        if not (np.isfinite(values.min()) and np.isfinite(values.max())):
            raise BadData(
                f"case {self.scan.case}: the model gives values that are no numbers; "
                "use another model or engine"
            )
        if key:
            self.air = {key: values.copy()}
        return values

    def _inferred(self, image: Array, present: Array) -> Array:
        owner = self.owner
        if owner.engine:
            return owner.infer(image, present)
        with memory.measured(owner.threads) as most:
            values = owner.infer(image, present)
        owner.engine = max(most[0], values.nbytes)
        return values


def constant(image: Array, present: Array) -> bytes:
    """What tells constant windows (M, *patch) apart; empty if any channel is not constant."""
    for array in (*image, *present):
        if array.flat[0] != array.flat[array.size // 2] or array.min() != array.max():
            return b""
    return b"".join(array.flat[0].tobytes() for array in (*image, *present))


def _notes(used: tuple[str, ...], missing: tuple[str, ...]) -> tuple[str, ...]:
    if not missing:
        return ()
    sentence = (
        f"Segmented from {', '.join(used)} alone; {', '.join(missing)} was not given, so expect"
        " less accuracy."
    )
    return (sentence,)


def _bar(name: str) -> Progress:
    return lambda boxes: iter(bar(boxes, name, unit="window"))
