"""Watch: what a training shows of itself while it runs, a page in its folder and TensorBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg import files
from oncoseg.case import Array
from oncoseg.errors import OncosegError
from oncoseg.extras import require
from oncoseg.prepare import Stored
from oncoseg.train import page
from oncoseg.train.page import examples, history

if TYPE_CHECKING:
    from oncoseg.train.loop import Loop

SHARE = 0.005  # of the seconds of training, what drawing the page may take
MOST = 400  # losses that are kept
LOG = logging.getLogger(__name__)


@dataclass
class Watch:
    """What a training shows of itself: `training.html`, and TensorBoard's curves where asked for.

    The page is drawn from `metrics.jsonl`, `validation.json` and what is kept here in
    `training.json`; it never ends a training, only warns.
    """

    loop: Loop
    losses: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    examples: dict[str, Any] = field(default_factory=dict)
    spent: float = 0.0

    def begin(self) -> None:
        """Take up what was kept up to the step that the training begins at, and say that it did."""
        step = self.loop.progress.step
        kept = history.kept(self.loop.run.folder) if step else {}
        self.losses, self.examples = kept.get("losses", []), kept.get("examples", {})
        self.events = kept.get("events", [])
        self._forget(step + 1)
        if self.loop.progress.step and self._done() < 1:
            told = bool(self.events) and self.events[-1][2].startswith("stopped")
            self._event("resumed" if told else "resumed after a kill")
        self.draw(now=True)

    def pulse(self, losses: Mapping[str, float]) -> None:
        """Keep the losses of a step for the curve."""
        step, seconds = self._at()
        self._forget(step)
        self.losses.append([step, seconds, dict(losses)])
        if len(self.losses) > MOST:
            del self.losses[::2]

    def see(self, case: Stored, image: Array, found: Array, true: Array) -> None:
        """Keep the outlines of a held-out case: image (M, *S), label maps found and true (*S)."""
        began = time.monotonic()
        task, step = self.loop.plan.task, self.loop.progress.step
        if case.id not in self.examples:
            self.examples[case.id] = examples.begun(image, case.read("present"), true, task)
        example = self.examples[case.id]
        example["seen"] = [one for one in example["seen"] if one[0] < step]
        example["seen"].append([step, examples.drawn(found, task, example)])
        self.spent += time.monotonic() - began

    def stopped(self, asked: str) -> None:
        """Say by what the training was ended."""
        self._event("stopped by a file" if "file" in asked else f"stopped by {asked}")
        self.draw(now=True)

    def draw(self, *, now: bool = False) -> None:
        """Draw the page, if that takes little of the time or has to be `now`."""
        loop, began = self.loop, time.monotonic()
        late = self.spent > SHARE * loop.progress.seconds
        if not loop.ranks.first or (late and not now):
            return
        step, seconds = self._at()
        kept = {
            "trained": described(loop),
            "own": loop.trained == loop.plan.task,
            "regions": list(loop.plan.task.regions),
            "patients": {case.id: case.patient for case in loop.held},
            "step": step,
            "seconds": seconds,
            "done": round(self._done(), 4),
            "events": self.events,
            "losses": self.losses,
            "examples": self.examples,
        }
        try:
            files.write_json(loop.run.folder / history.RECORD, kept)
            page.write(loop.run.folder)
        except OncosegError as error:
            LOG.warning("the page of the training was not drawn: %s", error)
        self.spent += time.monotonic() - began

    def chart(self, groups: Mapping[str, Mapping[str, float]]) -> None:
        """Add points and pictures to TensorBoard, where that is asked for."""
        if self.loop.run.tensorboard and self.loop.ranks.first:
            step = self.loop.progress.step
            shown = examples.pictures(self.examples, step)
            chart(self.loop.run.folder / "tensorboard", step, groups, shown)

    def _done(self) -> float:
        """Share of the budget that is used."""
        run, progress = self.loop.run, self.loop.progress
        used = progress.step / run.steps if run.steps else progress.seconds / (60 * run.minutes)
        return min(1.0, used)

    def _at(self) -> tuple[int, float]:
        return self.loop.progress.step, round(self.loop.progress.seconds, 1)

    def _event(self, what: str) -> None:
        self.events.append([*self._at(), what])

    def _forget(self, step: int) -> None:
        """Leave out what belongs to this step and those after it, which are made again."""
        while self.losses and self.losses[-1][0] >= step:
            self.losses.pop()
        for example in self.examples.values():
            example["seen"] = [one for one in example["seen"] if one[0] < step]


def described(loop: Loop) -> dict[str, str]:
    """What is trained, in words; of paths the last part alone, since folders may carry names."""
    run, task = loop.run, loop.plan.task
    unit = "mm" if task.dims == 3 else "mm, or pixels where no size is stated"
    held = history.record(run.folder / "held_out.json", list) or [case.id for case in loop.held]
    apart = f"fold {run.fold} of {run.folds} counted from 0, no {run.apart} in both"
    how = "by name" if run.hold else apart
    seen = f"{len(held)} cases ({how}), {len(loop.held)} of them looked at while it trains"
    labelled = sum(case.labeled for case in loop.training)
    size = sum(value.numel() for value in loop.method.network.parameters())
    return {
        "Data": Path(run.data).name,
        "Images": ", ".join(task.modalities),
        "Regions": ", ".join(task.regions),
        "Trained on": f"{len(loop.training)} cases, {labelled} of them labelled",
        "Held out": seen if held else "none",
        "Network": run.network,
        "Parameters": f"{size:,} parameters",
        "Starts from": Path(run.start).name if run.start else "random weights",
        "Method": f"{run.method}, loss {run.loss}",
        "Length": f"{run.steps} steps" if run.steps else f"{run.minutes:g} minutes",
        "A step": f"{loop.sampler.batch} patches of {' x '.join(map(str, task.patch))} voxels",
        "A voxel": f"{' x '.join(f'{size:.3g}' for size in task.spacing)} {unit}",
        "Augmentations": ", ".join(run.augmentations) or "none",
        "Learning rate": f"{run.rate:g} at most (AdamW, weight decay {run.decay:g})",
        "Arithmetic": f"{run.precision} on {run.device or 'cpu'}",
        "Seed": str(run.seed),
    }


def chart(
    folder: Path,
    step: int,
    groups: Mapping[str, Mapping[str, float]],
    pictures: Mapping[str, Array] | None = None,
) -> None:
    """Add to TensorBoard: points, one a name in each group, and pictures (rows, columns, 3)."""
    board = require("torch.utils.tensorboard", "tensorboard")
    with board.SummaryWriter(str(folder)) as writer:
        for group, values in groups.items():
            for name, value in values.items():
                writer.add_scalar(f"{group}/{name}", value, step)
        for name, picture in (pictures or {}).items():
            writer.add_image(f"examples/{name}", picture, step, dataformats="HWC")
