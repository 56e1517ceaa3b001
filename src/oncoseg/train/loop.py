"""The one training loop: everything that no method should have to know."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from oncoseg import checkpoint, files, registry
from oncoseg.bar import Bar, percent
from oncoseg.blocks.crop import centre
from oncoseg.blocks.ema import Ema
from oncoseg.blocks.norm import channels_last
from oncoseg.case import Batch, Task
from oncoseg.checkpoint import Progress
from oncoseg.errors import BadRun, Stopped
from oncoseg.evaluate import evaluate
from oncoseg.model import open_model
from oncoseg.predict.engines import network_engine
from oncoseg.predict.window import slide, windows
from oncoseg.prepare import Plan, Stored
from oncoseg.run import Run
from oncoseg.sample import Sampler, stream
from oncoseg.train import keep
from oncoseg.train.page.watch import Watch
from oncoseg.train.ranks import Ranks, Step
from oncoseg.train.validation import Row, mean_of
from oncoseg.trainable import Augmentation, Loss, Method, Network
from oncoseg.transfer import Transfer

EPOCHS = 20
WARM_UP = 0.03
PULSE = 20  # steps after which the loss is looked at: on a GPU that waits for it
LOOK = 0.1  # of the time that has gone by, what validating may have taken
LOG = logging.getLogger(__name__)


def trained_task(run: Run, task: Task) -> Task:
    """What the network is built for: the user's task, or the one that the method makes of it."""
    name, _ = registry.parse("methods", run.method)
    kind: type[Method] = registry.load("methods", name)
    return kind.pretext(task, **registry.chosen("methods", run.method))


def build(run: Run, task: Task) -> tuple[Method, list[Augmentation], Transfer | None]:
    """Method with network and loss, and augmentations; weights drawn from the run's seed.

    Third: what was taken from a model to start from.
    """
    torch.manual_seed(run.seed)
    trained = trained_task(run, task)
    network: Network = registry.build("networks", run.network, trained)
    taken = open_model(run.start).start(network, trained) if run.start else None
    loss: Loss = registry.build("losses", run.loss, exclusive=trained.exclusive)
    method: Method = registry.build("methods", run.method, network, task, loss)
    augmentations = [registry.build("augmentations", text, task) for text in run.augmentations]
    for part in (method, *augmentations):
        for name in part.models:
            if path := getattr(part, name, ""):
                part.use(name, *helper(path, run, task))
    return method, augmentations, taken


def helper(path: str, run: Run, task: Task) -> tuple[Network, Task]:
    """The frozen network of a model file that a part works with, and the task of that model."""
    model = open_model(path)
    if model.task.modalities != task.modalities:
        sees, has = ", ".join(model.task.modalities), ", ".join(task.modalities)
        raise BadRun(f"{path} sees {sees}, this run has {has}; use a model of the same modalities")
    network = model.network().requires_grad_(requires_grad=False)
    return network.to(run.device or "cpu"), model.task


@dataclass
class Loop:
    """The one training loop: everything that no method should have to know.

    `looked` and `looking` are the seconds that all validations, and the last one, have taken. With
    several `ranks`, each process has its share of the batches and all have the same weights.
    """

    run: Run
    plan: Plan
    training: Sequence[Stored]
    held: Sequence[Stored]
    progress: Progress = field(default_factory=Progress)
    ranks: Ranks = field(default_factory=Ranks)
    looked: float = 0.0
    looking: float = 0.0

    def __post_init__(self) -> None:
        run, task = self.run, self.plan.task
        self.device, self.last = torch.device(run.device or "cpu"), run.folder / "last.safetensors"
        method, self.augmentations, taken = build(run, task)
        self.trained = trained_task(run, task)
        self.method = method.to(self.device)
        channels_last(self.method)
        parameters = [value for module in method.trained for value in module.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, lr=run.rate, weight_decay=run.decay)
        self.optimise = Step(self.optimiser, self.ranks)
        self.ranks.share(method.loss)
        self.average = Ema(method.result, run.average)
        self.modules = {"method": self.method, "average": self.average}
        if run.compiled:
            self.method.network.compile()
        margin = max((getattr(part, "margin", 1.0) for part in self.augmentations), default=1.0)
        patch = tuple(math.ceil(size * margin) for size in task.patch)
        batch = run.batch or self.plan.batch
        self.sampler = Sampler(
            cases=self.training,
            task=task,
            patch=patch,
            batch=batch,
            foreground=run.foreground,
            seed=run.seed,
            balanced=run.balanced,
            needs=method.needs,
            share=(self.ranks.index, self.ranks.count),
        )
        self.watch = Watch(self)
        if taken and self.ranks.first:
            LOG.warning("%s", taken)
            files.write_json(run.folder / "start.json", taken.as_dict())

    def __call__(self) -> None:
        """Train from where `progress` stands to the end of the budget.

        Each epoch it validates, writes a line of metrics and saves; in between it saves so often
        that a kill costs minutes. Where the loss breaks down it goes back. Raises `Stopped` when
        asked to end, with all saved.
        """
        self.metrics = self.run.folder / "metrics.jsonl"
        self.stop, self.began = keep.Stop(self.run.folder), time.monotonic() - self.progress.seconds
        bar = percent("train", round(100 * self._done()), shown=self.ranks.first)
        with keep.deterministic(self.run.deterministic), self.stop, bar:
            self._begin()
            while self._done() < 1:
                try:
                    self._go(bar)
                except FloatingPointError:
                    self._back()

    def _begin(self) -> None:
        """Save before the first step, so that there always is something to go back to."""
        if self.ranks.first:
            keep.note(self.metrics, None, self.progress.step)
        here, there = keep.where(self.device, self.ranks.count), self.progress.where
        if self.run.deterministic and there and here != there:
            LOG.warning("begun with %s, now it is %s: other bits are to be expected", there, here)
        self.progress.where = here
        if not keep.sound(self.modules):
            raise BadRun("the weights to start from are not all numbers; start from another model")
        for module in self.modules.values():
            self.ranks.follow(module.state_dict().values())
        self.saved = self.progress.seconds
        if not self.progress.step:
            self._save()
        self.watch.begin()

    def _go(self, bar: Bar) -> None:
        """Train to the end of the budget; `FloatingPointError` where the loss breaks down."""
        stop, epoch = self.run.steps or 10**9, self._epoch(self._done())
        with closing(stream(self.sampler, self.progress.step, stop, self.run.workers)) as batches:
            for step, batch in batches:
                losses = self._step(batch, step)
                self.progress.step = step + 1
                done = self._clock()
                bar.update(min(100, round(100 * done)) - bar.n)
                if not self.progress.step % PULSE:
                    self.watch.pulse(self._numbers(losses))
                if self._epoch(done) > epoch or done >= 1:
                    epoch = self._epoch(done)
                    bar.set_postfix(self._end_epoch(losses))
                elif self.progress.seconds - self.saved > keep.EVERY:
                    self._save()
                self._heed()
                if self._done() >= 1:
                    break

    def _numbers(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """Losses; `FloatingPointError` if one, or a gradient since the last look, is no number."""
        self.optimise.look()
        values = {name: float(value.detach()) for name, value in self.ranks.mean(losses).items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError
        return values

    def _heed(self) -> None:
        """End, with all saved, if that is asked for."""
        code = int(*self.ranks.most(self.stop.code if self.stop.asked else 0))
        if code:
            asked = self.stop.asked or "a signal"
            self._save()
            self.stop.honoured()
            self.watch.stopped(asked)
            raise Stopped(
                f"stopped by {asked} after step {self.progress.step}, and saved; go on with "
                "--resume",
                code,
            )

    def _save(self) -> None:
        """A checkpoint, however long the disk is full; only of weights that are numbers."""
        if not keep.sound(self.modules):
            raise FloatingPointError
        if self.ranks.first:
            self.began += keep.patiently(
                lambda: checkpoint.save(self.last, self.modules, self.optimiser, self.progress),
                self.stop,
            )
        self.saved = self.progress.seconds

    def _back(self) -> None:
        """Go back to the last checkpoint with a lower rate; `BadRun` where that was in vain."""
        broke = [*self.progress.broke, self.progress.step]
        if len(broke) > keep.TRIES:
            raise BadRun(
                f"loss or gradient is no longer a number at step {broke[-1]}, also after going "
                f"back {keep.TRIES} times with lower rates; train to another file with a lower "
                "--rate or --precision f32"
            )
        self.resume()
        self.optimise = Step(self.optimiser, self.ranks)
        self.progress.broke, rate = broke, self.run.rate * keep.LOWER ** len(broke)
        done = self._clock()  # what was lost has taken of the minutes all the same
        LOG.warning(
            "loss or gradient is no longer a number at step %d; going back to step %d, "
            "with a rate of %.3g",
            *(broke[-1], self.progress.step, rate),
        )
        line = {"broke": broke[-1], "rate": rate, "done": round(done, 3), "loss": {}, "dice": {}}
        self._note(line)
        self._save()

    def resume(self) -> None:
        """Take up the last checkpoint: the first process, which may mend it, before the others."""

        def load() -> None:
            self.progress = checkpoint.resume(self.last, self.modules, self.optimiser)

        self.ranks.once(load)
        self.ranks.together(lambda: None if self.ranks.first else load())

    def _note(self, line: Mapping[str, object]) -> None:
        """A line of metrics, written before the checkpoint: a kill in between makes it again."""
        step, seconds = self.progress.step, round(self.progress.seconds, 1)
        whole = {"step": step, "seconds": seconds, **line}
        if self.ranks.first:
            self.began += keep.patiently(lambda: keep.note(self.metrics, whole, step), self.stop)

    def _clock(self) -> float:
        """Take the time, that of the first process; gives the share of the budget that is used."""
        seconds = time.monotonic() - self.began if self.ranks.first else 0.0
        (self.progress.seconds,) = self.ranks.most(seconds)
        return self._done()

    def _done(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        steps = self.progress.step / self.run.steps if self.run.steps else 0.0
        minutes = self.progress.seconds / (60 * self.run.minutes) if not self.run.steps else 0.0
        return min(1.0, max(steps, minutes))

    @staticmethod
    def _epoch(done: float) -> int:
        return int(done * EPOCHS + 1e-9)

    def _step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Augment, learn, follow; all randomness is of the run's seed, the step and the process."""
        torch.manual_seed(self.run.seed * 1_000_003 + step + (self.ranks.index << 40))
        for group in self.optimiser.param_groups:
            group["lr"] = self.run.rate * self._rate() * keep.LOWER ** len(self.progress.broke)
        batch = batch.to(self.device, non_blocking=True)
        for augment in self.augmentations:
            batch = augment(batch)
        batch = centre(batch, self.plan.task.patch)
        self.method.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.half):
            losses = self.method.update(batch, step, self.optimise)
        self.method.after_step(step)
        self.ranks.follow(self.method.buffers())
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
        values = self._numbers(losses)
        cases = self._validate() if self.ranks.first and self._may_look() else {}
        dice = mean_of(list(cases.values()), self.plan.task)
        mean = float(np.mean(list(dice.values()))) if dice else -1.0
        if mean > self.progress.best:
            self.progress.best, self.progress.best_step = mean, self.progress.step
        self._clock()
        rate = float(f"{self.optimiser.param_groups[0]['lr']:.4g}")
        self._note({"loss": values, "dice": dice, "cases": cases, "rate": rate})
        self._save()
        self.watch.draw()
        self.watch.chart({"loss": values, "dice": dice, "rate": {"rate": rate}})
        return {"loss": f"{sum(values.values()):.3f}", **({"dice": f"{mean:.3f}"} if dice else {})}

    def _may_look(self) -> bool:
        """Whether to validate now: at the end, and before while it takes little of the minutes."""
        if self.run.steps or self._done() >= 1:
            return True
        task, (step, seconds) = self.plan.task, (self.progress.step, self.progress.seconds)
        # Before the first: a window costs a third of an item of a step, which also goes backward.
        shapes = [tuple(map(max, case.shape, task.patch)) for case in self.held]
        boxes = [windows(shape, task.patch, 0.25) for shape in shapes]
        guess = sum(map(len, boxes)) * seconds / max(1, step) / (3 * self.sampler.batch)
        return self.looked + (self.looking or guess) <= LOOK * seconds

    def _validate(self) -> dict[str, Row]:
        """Dice of the first held-out cases by region, on the plan's grid.

        Of the averaged weights. Empty where the network is not trained for the user's task.
        """
        if self.trained != self.plan.task:
            return {}
        began = time.monotonic()
        infer = network_engine(kept(self.average), str(self.device), half=self.run.half)
        rows: dict[str, Row] = {}
        for case in self.held:
            image = case.read("image").astype(np.float32)
            task = self.plan.task
            logits = slide(infer, image, case.read("present"), task.patch, overlap=0.25)
            truth = task.decode(case.read("label") / np.float32(127.5) - 1)
            label = task.decode(logits[: task.outputs])
            if case.weighted:
                counts = case.read("weight")[0] > 0
                label, truth = label * counts, truth * counts
            found = evaluate(label, truth, regions=task, metrics=("dice",)).means
            rows[case.id] = {one: round(found[one]["dice"], 4) for one in case.known(task)}
            self.watch.see(case, image, label, truth)
        self.looking = time.monotonic() - began
        self.looked += self.looking
        return rows


def kept(average: Ema) -> Network:
    """The averaged network."""
    network = average.network
    if not isinstance(network, Network):
        raise BadRun(f"what the method keeps is a {type(network).__name__}, not a network")
    return network
