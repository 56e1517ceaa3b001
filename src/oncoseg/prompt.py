"""Prompt: a session in which a person points at what is wanted, and the mask follows.

The scan is encoded once; each prompt only decodes. The module is itself the verb, so that
`oncoseg.prompt("model.onco", "scan.nii.gz")` opens a session.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from oncoseg import registry, results
from oncoseg.case import Array, Case, Grid, Prediction
from oncoseg.errors import BadData, BadFile, BadOption, BadRun
from oncoseg.extras import require
from oncoseg.model import Model, open_model
from oncoseg.predict import validated
from oncoseg.predict.engines import bare_batch, torch_device
from oncoseg.predict.native import THREADS, Native
from oncoseg.predict.soften import finished
from oncoseg.predict.window import gaussian, margins
from oncoseg.prepare.align import Aligned, align
from oncoseg.read import find, read_case
from oncoseg.threads import started
from oncoseg.verb import called

if TYPE_CHECKING:
    from torch import Tensor

    from oncoseg.trainable import Network

__all__ = ["Asked", "Session", "prompt"]
KEPT = 4  # windows whose features are kept, the latest ones
RIM = 8  # a prompt within an eighth of a window's edge opens a window of its own
Start = tuple[int, ...]


def prompt(model: str | Path, scan: str | Path, *, device: str = "") -> Session:
    """Open a session on one scan: a file, or a folder with the modalities of one case.

    Raises `BadRun` for a model that was not taught to follow prompts, `BadData` if `scan` is not
    one case, and whatever opening the model and reading the scan raise. Needs torch.
    """
    require("torch", "train")
    opened = open_model(model)
    sources = find(Path(scan)).sources
    if len(sources) != 1:
        raise BadData(f"{scan}: holds {len(sources)} cases; a session is on one, name its scan")
    source = sources[0]
    bare = type(source)(source.case, source.patient, source.images, {}, source.site)
    case = read_case(bare, modalities=opened.task.modalities)
    return Session(opened, case, device=device)


@dataclass(frozen=True)
class Asked:
    """One prompt: `kind` foreground, background or box, its `corners` on the aligned grid.

    `said` is the prompt in the voxels of the scan, as in the session's notes.
    """

    kind: str
    corners: Array
    said: str


@dataclass(frozen=True)
class Step:
    """What is asked so far, and the logits (outputs, *patch) of each window, by its start."""

    asked: tuple[Asked, ...] = ()
    logits: dict[Start, Array] = field(default_factory=dict)


class Session:
    """Clicks and boxes on one scan, and the mask of what they point at.

    Places are voxel indices of the scan as its file has it (`case.reference` if there are several
    modalities), in the file's own order of axes; row and column for pictures. The network sees a
    patch round the first prompt, a window; a prompt that lies outside of every window, or nearer to
    its edge than an eighth, opens another one. `mask` is boolean on the scan's own grid.
    """

    def __init__(self, model: Model, case: Case, *, device: str = "") -> None:
        self.model, self.case = model, case
        self.network = _taught(model).to(torch_device(device)).eval()
        self._known = validated(case, model)
        self._scan = align(case, model.plan)
        self._aligned, self._before = _filled(self._scan, model.task.patch)
        self._threads = started(THREADS)
        self._pyramids: dict[Start, list[Tensor]] = {}
        self._steps: list[Step] = [Step()]
        self._answers: dict[int, Prediction] = {}

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Every prompt that holds."""
        return self._steps[-1].asked

    def click(self, *place: float, foreground: bool = True) -> Session:
        """Say that the voxel at `place` belongs to the target, or does not.

        Raises `BadOption` if it does not lie in the scan.
        """
        kind = "foreground" if foreground else "background"
        return self._ask(Asked(kind, self._inside([place]), f"{kind} {_said(place)}"))

    def box(self, lower: Sequence[float], upper: Sequence[float]) -> Session:
        """Say that the target fills the box between two voxels, both inside it.

        Raises `BadRun` if the network reads clicks alone, `BadOption` if the box does not lie in
        the scan or is larger than what the network sees at once.
        """
        if "boxes" not in self.network.gives:
            raise BadRun(f"{self.model.path}: its network reads clicks, no boxes; click instead")
        if len(lower) != len(upper) or any(a > b for a, b in zip(lower, upper)):
            raise BadOption(
                f"a box goes from its lower corner to its upper, not {lower} to {upper}"
            )
        corners = np.sort(self._inside([lower, upper]), axis=0)
        if (corners[1] - corners[0] > np.array(self.model.task.patch) - 1).any():
            raise BadOption(
                f"the box {_said(lower)} to {_said(upper)} is larger than the "
                f"{_said(self.model.task.patch)} voxels that the model sees at once; click instead"
            )
        return self._ask(Asked("box", corners, f"box {_said(lower)} to {_said(upper)}"))

    def undo(self) -> Session:
        """Take back the last prompt; raises `BadRun` if there is none."""
        if not self.asked:
            raise BadRun("there is no prompt to take back")
        self._answers.pop(len(self._steps) - 1, None)
        self._steps.pop()
        return self

    @property
    def mask(self) -> Array:
        """What is segmented, boolean on the scan's own grid; nothing before the first prompt."""
        return self.prediction.label > 0

    @property
    def prediction(self) -> Prediction:
        """The mask with its probability and notes, on the scan's own grid."""
        place = len(self._steps) - 1
        if place not in self._answers:
            self._answers = {place: self._answer(self._steps[-1])}
        return self._answers[place]

    def save(self, path: str | Path) -> Path:
        """Write the label map to `path` (.nii.gz) and its record beside it; returns `path`.

        Raises `BadRun` if nothing was pointed at, `BadFile` for another ending.
        """
        path = Path(path)
        if not path.name.endswith(".nii.gz") or path.name == ".nii.gz":
            raise BadFile(path, "has another ending than .nii.gz", "name it so")
        if not self.asked:
            raise BadRun("nothing was pointed at; click on what is to be segmented")
        name = path.name.removesuffix(".nii.gz")
        results.save(self.prediction.but(case=name), path.parent)
        return path

    @property
    def _field(self) -> Array:
        """Shape (dims,) of the aligned grid, a patch at least: what windows are cut from."""
        return np.array(self._aligned.grid.shape)

    def _inside(self, places: Sequence[Sequence[float]]) -> Array:
        """Places (n, dims) in the scan -> on the aligned grid, if they are voxels of both."""
        grid, name = self.case.grid, self.case.images[self.case.reference].path.name
        for place in places:
            known = len(place) == grid.dims and all(math.isfinite(index) for index in place)
            if not known or any(
                not -0.5 <= index < size - 0.5 for index, size in zip(place, grid.shape)
            ):
                ends = _said([size - 1 for size in grid.shape])
                raise BadOption(
                    f"{_said(place)} lies outside of {name}, whose voxels go from "
                    f"{_said([0] * grid.dims)} to {ends}"
                )
        world = np.array(places, float) @ grid.affine[:-1, :-1].T + grid.affine[:-1, -1]
        back = np.linalg.inv(self._aligned.grid.affine)
        found = world @ back[:-1, :-1].T + back[:-1, -1]
        size = np.array(self._scan.grid.shape)
        edges = size - 0.5
        for place, there in zip(places, found - self._before):
            if (there < -0.501).any() or (there > edges + 1e-3).any():
                raise BadOption(f"{_said(place)} of {name} lies in the air round the body")
        return np.clip(found, self._before, self._before + size - 1)

    def _ask(self, asked: Asked) -> Session:
        """Decode every window that holds the new prompt, with all prompts that it holds."""
        before = self._steps[-1]
        prompts, logits = (*before.asked, asked), dict(before.logits)
        if asked.kind != "background" and not any(self._holds(start, asked) for start in logits):
            logits[self._window(asked)] = np.zeros(0)
        for start in logits:
            if self._within(start, asked, 0):
                logits[start] = self._decoded(start, prompts, before.logits.get(start))
        self._steps.append(Step(prompts, logits))
        return self

    def _window(self, asked: Asked) -> Start:
        """Start of the patch with a prompt in its middle, kept inside the scan."""
        patch = np.array(self.model.task.patch)
        first = np.round(asked.corners.mean(0) - (patch - 1) / 2).astype(int)
        return tuple(int(start) for start in np.clip(first, 0, self._field - patch))

    def _holds(self, start: Start, asked: Asked) -> bool:
        """Whether a prompt lies well inside a window: off its edges, but for the scan's own."""
        return self._within(start, asked, RIM)

    def _within(self, start: Start, asked: Asked, rim: int) -> bool:
        patch = np.array(self.model.task.patch)
        first, last = np.array(start), np.array(start) + patch - 1
        off = patch // rim if rim else np.zeros_like(patch)
        low = np.where(first > 0, first + off, 0)
        high = np.where(last < self._field - 1, last - off, self._field - 1)
        near = 0.501  # a voxel reaches half its edge beyond its index
        return bool((asked.corners >= low - near).all() and (asked.corners <= high + near).all())

    def _decoded(self, start: Start, prompts: Sequence[Asked], before: Array | None) -> Array:
        """Logits (outputs, *patch) of a window for the prompts in it; `before`: its last ones."""
        torch = require("torch", "train")
        clicks = require("oncoseg.blocks.clicks", "train")
        held = [each for each in prompts if self._within(start, each, 0)]
        local = [(each.kind, each.corners - np.array(start)) for each in held]
        points = [(spot[0], kind == "foreground") for kind, spot in local if kind != "box"]
        boxes = [spot for kind, spot in local if kind == "box"]
        with torch.inference_mode():
            batch = self._batch(start)
            pyramid = self._pyramid(start, batch)
            share = None
            if before is not None:
                share = torch.from_numpy(before)[None].to(batch.image).softmax(1)[:, 1:]
            asked = clicks.asked(batch, [points], [boxes], share)
            found = self.network.decode(pyramid, asked)[0][0]
            logits = np.asarray(found.float().cpu())
        if not np.isfinite(logits).all():
            raise BadData(f"case {self.case.id}: the model gives values that are no numbers")
        return logits

    def _pyramid(self, start: Start, batch: Any) -> list[Tensor]:
        """Features of a window, computed once while it is among the latest."""
        if start not in self._pyramids:
            self._pyramids[start] = self.network.encode(batch)
            while len(self._pyramids) > KEPT:
                del self._pyramids[next(iter(self._pyramids))]
        return self._pyramids[start]

    def _batch(self, start: Start) -> Any:
        """The patch of a window as a batch of one."""
        torch = require("torch", "train")
        place = next(self.network.parameters()).device
        box = (slice(at, at + size) for at, size in zip(start, self.model.task.patch))
        whole = (slice(None), *box)
        parts = (
            array[whole].copy()[None] for array in (self._aligned.image, self._aligned.present)
        )
        return bare_batch(*(torch.from_numpy(part).to(place) for part in parts))

    def _blended(self, step: Step) -> tuple[Array, Array]:
        """Logits (outputs, *S) on the aligned grid where (*S) any window saw it."""
        task, shape = self.model.task, tuple(int(size) for size in self._field)
        logits = np.zeros((task.outputs, *shape), dtype=np.float32)
        weight = np.zeros(shape, dtype=np.float32)
        for start, values in step.logits.items():
            box = tuple(slice(at, at + size) for at, size in zip(start, task.patch))
            whole = (slice(None), *box)
            logits[whole] += values * gaussian(task.patch)
            weight[box] += gaussian(task.patch)
        seen = weight > 0
        logits[:, seen] /= weight[seen]
        return logits, seen

    def _answer(self, step: Step) -> Prediction:
        task, case = self.model.task, self.case
        logits, seen = self._blended(step)
        relation, shape = self._aligned.relation(case.grid), case.grid.shape
        chance = np.zeros((len(task.regions), *shape), dtype=np.float16)
        native = Native(task, relation, seen.shape, shape, 0, threads=self._threads, kept=chance)
        native.add(logits.swapaxes(0, 1), seen & self._aligned.present.any(0))
        used = tuple(name for name in task.modalities if name in case.images)
        notes = [*self._known]
        if step.asked:
            notes.append(f"Segmented at the prompts of a person: {_listed(step.asked)}.")
        if bool((ndimage.binary_dilation(~seen) & (task.decode(logits) > 0)).any()):
            notes.append(
                "The mask reaches the edge of what the model looked at; click beyond that edge."
            )
        found = Prediction(
            case=case.id,
            task=task,
            grid=case.grid,
            label=native.label,
            probability=chance,
            used=used,
            missing=tuple(name for name in task.modalities if name not in case.images),
            images={name: case.images[name].path for name in used},
            model=self.model.described,
            notes=tuple(notes),
        )
        # Held-out cases were predicted without a person, so what they promise does not hold here.
        steps = [step for step in self.model.posthoc.values() if step.changes]
        return finished(self.model, steps, found)


def _filled(scan: Aligned, patch: Sequence[int]) -> tuple[Aligned, Array]:
    """A scan with air around it where it is smaller than a patch, and how many voxels before it."""
    around = margins(scan.grid.shape, patch)
    before = np.array([first for first, _ in around])
    image, present, label = (
        np.pad(array, [(0, 0), *around]) for array in (scan.image, scan.present, scan.label)
    )
    affine = scan.grid.affine.copy()
    affine[:-1, -1] -= affine[:-1, :-1] @ before
    grid = Grid(image.shape[1:], affine)
    return replace(scan, image=image, present=present, label=label, grid=grid), before


def _taught(model: Model) -> Network:
    """The model's network, if it reads prompts and was taught by a method that shows some."""
    network = model.network()
    able = [each.name for each in registry.entries("methods") if "prompts" in each.needs]
    if "prompts" not in network.gives:
        raise BadRun(f"{model.path}: its network reads no prompts; train one with {_or(able)}")
    method = str(model.card.get("method", "")).partition(":")[0]
    if method not in able:
        raise BadRun(
            f"{model.path}: was trained with {method or 'an unknown method'}, which shows it no "
            f"prompts; train it with {_or(able)}"
        )
    return network


def _or(names: Sequence[str]) -> str:
    return " or ".join(f"--method {name}" for name in names)


def _said(place: Sequence[float]) -> str:
    return f"({', '.join(f'{index:g}' for index in place)})"


def _listed(asked: Sequence[Asked]) -> str:
    return "; ".join(each.said for each in asked)


called(__name__)
