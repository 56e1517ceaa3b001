"""Train: one loop for every method, bounded by minutes or steps, resumable.

Ending in a model file.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from oncoseg import __version__, checkpoint, files, registry, results
from oncoseg.blocks.crop import centre
from oncoseg.blocks.ema import Ema
from oncoseg.case import Batch, Task
from oncoseg.checkpoint import Progress
from oncoseg.errors import BadData, BadRun
from oncoseg.evaluate import score
from oncoseg.extras import require
from oncoseg.model import open_model, save_model
from oncoseg.predict import segment
from oncoseg.predict.engines import network_engine, torch_device
from oncoseg.predict.window import slide
from oncoseg.prepare import Plan, Stored, held_out, open_store, prepare
from oncoseg.prepare.align import resample
from oncoseg.read import find, read_case
from oncoseg.run import Run
from oncoseg.sample import Sampler, stream
from oncoseg.trainable import Augmentation, Method, Network, Optimise

EPOCHS = 20
WARM_UP = 0.03
CLIP = 12.0
PEEK = 8
SAME = ("network", "method", "loss", "folds", "fold", "hold", "labels", "regions", "modalities")
LICENCE = (
    "The weights are given under the licence named in the card, for research use only;"
    " not a medical device.\n"
)


def train(run: Run, *, resume: bool = False) -> Path:
    """Prepare (once), train, validate on what was held out, and write the model to `run.to`.

    Beside it, `<name>.run/` holds run.toml, the prepared data, checkpoints, metrics.jsonl and, if
    cases were held out, their predictions and validation.json. With `resume` it goes on from the
    last checkpoint; without, a run folder that already holds one is refused.
    """
    run.check()
    run = resolved(run)
    folder = run.folder
    last = folder / "last.safetensors"
    if last.exists() and not resume:
        raise BadRun(f"{folder} already holds a run; go on with --resume, or train to another file")
    if resume and last.exists():
        _refuse_changed(run)
    store = prepared(run, again=not resume)
    plan, cases = Plan.read(store / "plan.json"), open_store(store)
    training, held = held_out(cases, run.folds, run.fold, run.hold)
    held = [case for case in held if case.labeled]
    run.write(folder / "run.toml")
    files.write_json(folder / "held_out.json", [case.id for case in held])
    loop = Loop(run, plan, training, held[:PEEK])
    if resume and last.exists():
        loop.progress = checkpoint.load(last, loop.modules, loop.optimiser)
    loop()
    return finish(run, plan, loop, held)


def resolved(run: Run) -> Run:
    """The run with its device and, where none is named.

    A network that the device can train in the time.
    """
    device = str(torch_device(run.device))
    slow = device == "cpu"
    network = run.network or f"unet:width={16 if slow else 32}"
    return replace(run, device=device, network=network, batch=run.batch or (2 if slow else 0))


def _refuse_changed(run: Run) -> None:
    """Going on with other cases held out, or another task, would be wrong and not be seen."""
    before = Run.read(run.folder / "run.toml")
    for name in SAME:
        was, asked = getattr(before, name), getattr(run, name)
        if was != asked:
            raise BadRun(
                f"{run.folder} was begun with {name} {was or 'not given'}, now it is "
                f"{asked or 'not given'}; resume with the same, or train to another file"
            )


def prepared(run: Run, *, again: bool = False) -> Path:
    """The store to train from.

    `run.data` itself if it is one, else made in the run's folder, unless it is there and not wanted
    `again`.
    """
    data = Path(run.data)
    if (data / "plan.json").exists():
        return data
    store = run.folder / "prepared"
    if again or not (store / "plan.json").exists():
        prepare(
            data,
            store,
            labels=run.labels,
            regions=run.regions,
            modalities=run.modalities,
            voxels=run.voxels,
            plan=Path(run.plan) if run.plan else None,
        )
    return store


def build(run: Run, task: Task) -> tuple[Method, list[Augmentation]]:
    """Network, loss, method and augmentations of a run, weights drawn from its seed."""
    torch.manual_seed(run.seed)
    kind = registry.build  # the method's class decides which task is really trained
    network: Network = kind("networks", run.network, task)
    if run.start:
        open_model(run.start).load_into(network)
    loss = kind("losses", run.loss, exclusive=task.exclusive)
    method: Method = kind("methods", run.method, network, task, loss)
    return method, [kind("augmentations", text, task) for text in run.augmentations]


@dataclass
class Step(Optimise):
    """Backward, clip the norm of the gradient, step."""

    optimiser: torch.optim.Optimizer

    def __call__(self, loss: Tensor, modules: Sequence[nn.Module]) -> None:
        """Lower `loss` by one step for the parameters of `modules`."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [parameter for module in modules for parameter in module.parameters()]
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        self.optimiser.step()


@dataclass
class Loop:
    """The one training loop: everything that no method should have to know."""

    run: Run
    plan: Plan
    training: Sequence[Stored]
    held: Sequence[Stored]
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        run, task = self.run, self.plan.task
        self.device = torch.device(run.device or "cpu")
        method, self.augmentations = build(run, task)
        layout = torch.channels_last_3d if task.dims == 3 else torch.channels_last
        self.method = method.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        if not any(case.labeled for case in self.training):
            raise BadData("no training case is labelled; give labels to at least one")
        parameters = [value for module in method.trained for value in module.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, lr=run.rate, weight_decay=run.decay)
        self.average = Ema(method.result, run.average)
        self.modules = {"method": self.method, "average": self.average}
        if run.compiled:
            self.method.network.compile()
        margin = max((getattr(part, "margin", 1.0) for part in self.augmentations), default=1.0)
        patch = tuple(math.ceil(size * margin) for size in task.patch)
        batch = run.batch or self.plan.batch
        self.sampler = Sampler(
            self.training, task, patch, batch, run.foreground, run.seed, balanced=run.balanced
        )

    def __call__(self) -> None:
        """Train from where `progress` stands to the end of the budget.

        Validating and saving each epoch.
        """
        began = time.monotonic() - self.progress.seconds
        epoch = self._epoch(self._done())
        stop = self.run.steps or 10**9
        bar = tqdm(
            total=100,
            desc="train",
            unit="%",
            disable=None,
            leave=False,
            initial=round(100 * self._done()),
        )
        batches = stream(self.sampler, self.progress.step, stop, self.run.workers)
        for step, batch in batches:
            losses = self._step(batch, step)
            self.progress.step, self.progress.seconds = step + 1, time.monotonic() - began
            done = self._done()
            bar.update(min(100, round(100 * done)) - bar.n)
            if self._epoch(done) > epoch or done >= 1:
                epoch = self._epoch(done)
                bar.set_postfix(self._end_epoch(losses))
                self.progress.seconds = time.monotonic() - began
                if self._done() >= 1:
                    break
        batches.close()
        bar.close()

    def _done(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        steps = self.progress.step / self.run.steps if self.run.steps else 0.0
        minutes = self.progress.seconds / (60 * self.run.minutes) if not self.run.steps else 0.0
        return min(1.0, max(steps, minutes))

    @staticmethod
    def _epoch(done: float) -> int:
        return int(done * EPOCHS + 1e-9)

    def _step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Augment, learn, follow; all randomness comes from the run's seed and the step."""
        torch.manual_seed(self.run.seed * 1_000_003 + step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.run.rate * self._rate()
        batch = batch.to(self.device, non_blocking=True)
        for augment in self.augmentations:
            batch = augment(batch)
        batch = centre(batch, self.plan.task.patch)
        self.method.train()
        half = self.run.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            losses = self.method.update(batch, step, Step(self.optimiser))
        self.method.after_step(step)
        self.average.update(self.method.result)
        return losses

    def _rate(self) -> float:
        """Linear warm-up, then half a cosine to zero, over the budget."""
        done = self._done()
        if done < WARM_UP:
            return max(done, 1e-3) / WARM_UP
        return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))

    def _end_epoch(self, losses: Mapping[str, Tensor]) -> dict[str, str]:
        """Check, validate, save and write one line of metrics."""
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise BadRun(
                f"the loss is no longer a number at step {self.progress.step}; go on "
                f"from the last checkpoint with"
                " --resume and a lower rate, or precision f32"
            )
        dice = self._validate()
        mean = float(np.mean(list(dice.values()))) if dice else -1.0
        best = mean > self.progress.best
        if best:
            self.progress.best, self.progress.best_step = mean, self.progress.step
        folder = self.run.folder
        checkpoint.save(folder / "last.safetensors", self.modules, self.optimiser, self.progress)
        if best:
            checkpoint.save(
                folder / "best.safetensors", self.modules, self.optimiser, self.progress
            )
        line = {
            "step": self.progress.step,
            "seconds": round(self.progress.seconds, 1),
            "loss": values,
            "dice": dice,
        }
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        if self.run.tensorboard:
            chart(folder / "tensorboard", self.progress.step, {"loss": values, "dice": dice})
        return {"loss": f"{sum(values.values()):.3f}", **({"dice": f"{mean:.3f}"} if dice else {})}

    def _validate(self) -> dict[str, float]:
        """Mean Dice a region over the first held-out cases, on the plan's grid.

        Of the averaged weights.
        """
        infer = network_engine(kept(self.average), str(self.device))
        scores: dict[str, list[float]] = {}
        for case in self.held:
            image = case.read("image").astype(np.float32)
            logits = slide(infer, image, case.read("present"), self.plan.task.patch, overlap=0.25)
            task = self.plan.task
            truth = task.decode(case.read("label") / np.float32(127.5) - 1)
            found = score(task.decode(logits), truth, task, task.spacing, ("dice",))
            for region, metrics in found.items():
                scores.setdefault(region, []).append(metrics["dice"])
        return {region: round(float(np.mean(values)), 4) for region, values in scores.items()}


def chart(folder: Path, step: int, groups: Mapping[str, Mapping[str, float]]) -> None:
    """Add points to TensorBoard's curves, one a name in each group."""
    board = require("torch.utils.tensorboard", "tensorboard")
    with board.SummaryWriter(str(folder)) as writer:
        for group, values in groups.items():
            for name, value in values.items():
                writer.add_scalar(f"{group}/{name}", value, step)


def kept(average: Ema) -> Network:
    """The averaged network."""
    network = average.network
    if not isinstance(network, Network):
        raise BadRun(f"what the method keeps is a {type(network).__name__}, not a network")
    return network


def finish(run: Run, plan: Plan, loop: Loop, held: Sequence[Stored]) -> Path:
    """Validate the averaged weights on every held-out case as a user would.

    Then export and write the model.
    """
    network = kept(loop.average)
    scans = (
        held and not (Path(run.data) / "plan.json").exists()
    )  # a bare store has no files to read again
    figures = validate(run, plan, network, held, str(loop.device)) if scans else {}
    card = {
        "name": run.name or Path(run.to).stem,
        "version": __version__,
        "trained_on": f"{len(loop.training)} cases of {Path(run.data).name}",
        "steps": loop.progress.step,
        "minutes": round(loop.progress.seconds / 60, 1),
        "validation": figures,
        "licence": "research use only",
        **(files.read_json(Path(run.card)) if run.card else {}),
    }
    return save_model(Path(run.to), network, run.network, plan, card, LICENCE)


def validate(
    run: Run, plan: Plan, network: Network, held: Sequence[Stored], device: str
) -> dict[str, Any]:
    """Predictions of held-out cases from their own files, on their own grids.

    And Dice a region over them.
    """
    names = {case.id for case in held}
    sources = [source for source in find(Path(run.data)).sources if source.case in names]
    infer = network_engine(network, device)
    rows: dict[str, dict[str, float]] = {}
    for source in tqdm(sources, desc="validate", unit="case", disable=None, delay=2, leave=False):
        case = read_case(source, modalities=plan.task.modalities, labels=plan.task.labels)
        prediction = segment(case, plan, infer)
        results.save(prediction, run.folder / "validation")
        drawn = case.labels.get(case.reference, next(iter(case.labels.values())))
        truth = resample(drawn.array.astype(np.int16), drawn.grid, case.grid, order=0)
        found = score(prediction.label, truth, plan.task, case.grid.spacing, ("dice",))
        rows[case.id] = {region: round(metrics["dice"], 4) for region, metrics in found.items()}
    mean = {
        region: round(float(np.mean([row[region] for row in rows.values()])), 4)
        for region in plan.task.regions
    }
    files.write_json(run.folder / "validation.json", {"dice": mean, "cases": rows})
    return {"dice": mean, "cases": len(rows), "fold": run.fold, "folds": run.folds}
