"""What one site does: it trains from the weights it received, and what it learned stays with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from oncoseg import checkpoint, registry
from oncoseg.case import Array, Batch
from oncoseg.errors import BadData
from oncoseg.prepare import Plan, Stored, open_store
from oncoseg.run import Run
from oncoseg.sample import stream
from oncoseg.train import prepared
from oncoseg.train.loop import Loop
from oncoseg.trainable import Method, Optimise, Strategy


@dataclass(frozen=True)
class Update:
    """All that leaves a site in a round: parameters by name, how many cases, the mean loss."""

    weights: Mapping[str, Array]
    cases: int
    loss: float


@dataclass(frozen=True)
class Site:
    """A site's private folder and what it was told to do.

    `run` is the site's own: `run.data` its scans, `run.folder` where its prepared cases and its
    state lie, `run.steps` the steps of the whole federation, so that rates fall over all rounds.
    """

    name: str
    run: Run
    strategy: str
    steps: int

    @property
    def state(self) -> Path:
        """Optimiser, averages and whatever else the method holds, between rounds."""
        return self.run.folder / "state.safetensors"

    def cases(self) -> list[Stored]:
        """The prepared cases that it trains on: the labelled ones where the method needs labels."""
        name, _ = registry.parse("methods", self.run.method)
        needs = registry.entry("methods", name).needs
        alone = "labeled" in needs and "unlabeled" not in needs
        return [case for case in open_store(prepared(self.run)) if case.labeled or not alone]

    def fit(self, received: Mapping[str, Array], number: int) -> Update:
        """The steps of round `number` (from 0), starting from what was received.

        Only parameters that the strategy shares are in the update. The state is kept unless the
        training broke down, so that a site recovers with the next weights it receives.
        """
        strategy: Strategy = registry.build("strategies", self.strategy)
        cases = self.cases()
        loop = Loop(self.run, Plan.read(prepared(self.run) / "plan.json"), cases, [])
        if self.state.exists():
            checkpoint.load(self.state, loop.modules, loop.optimiser)
        network = loop.method.network
        held = give(network, received, loop.device)
        hold(loop.method, strategy, held)
        first = number * self.steps
        totals = []
        for step, batch in stream(loop.sampler, first, first + self.steps, self.run.workers):
            loop.progress.step = step
            losses = loop._step(batch, step)
            totals.append(sum(float(value.detach()) for value in losses.values()))
        loop.progress.step = first + self.steps
        weights = shared(network, strategy)
        loss = sum(totals) / len(totals)
        if math.isfinite(loss) and not faults(weights, weights):
            checkpoint.save(self.state, loop.modules, loop.optimiser, loop.progress)
        return Update(weights, len(cases), loss)


def shared(network: torch.nn.Module, strategy: Strategy) -> dict[str, Array]:
    """The parameters and buffers of a network that leave their site."""
    return {
        name: value.detach().cpu().contiguous().numpy().copy()
        for name, value in network.state_dict().items()
        if strategy.shares(name)
    }


def faults(weights: Mapping[str, Array], like: Mapping[str, Array]) -> str:
    """What is wrong with weights that should be `like` others in names and shapes; "" if nothing.

    A sentence without its subject.
    """
    for name in sorted(weights.keys() ^ like.keys()):
        return f"has {name}, which is not asked for" if name in weights else f"lacks {name}"
    for name, value in weights.items():
        if value.shape != like[name].shape:
            return f"has {name} of shape {value.shape} where {like[name].shape} is asked for"
        if value.dtype != like[name].dtype:
            return f"has {name} of the type {value.dtype} where {like[name].dtype} is asked for"
        if not np.isfinite(value).all():
            return f"has values in {name} that are no numbers"
    return ""


def give(
    network: torch.nn.Module, received: Mapping[str, Array], device: torch.device
) -> dict[str, Tensor]:
    """Put received weights into a network; raises `BadData` if one does not fit.

    Returns them, to be held against.
    """
    own = network.state_dict()
    tensors = {name: torch.from_numpy(value.copy()) for name, value in received.items()}
    for name, value in tensors.items():
        if name not in own or own[name].shape != value.shape:
            raise BadData(f"the weights received have {name}, which the network here has not")
    network.load_state_dict({**own, **tensors})
    return {name: value.to(device) for name, value in tensors.items()}


@dataclass
class Held(Optimise):
    """Adds the strategy's losses to whatever a method minimises, however many times a step."""

    inner: Optimise
    strategy: Strategy
    method: Method
    received: Mapping[str, Tensor]
    last: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, loss: Tensor, modules: object) -> None:
        """As the loop's own, with the hold added."""
        self.last = self.strategy.hold(self.method, self.received)
        for value in self.last.values():
            loss = loss + value
        self.inner(loss, modules)  # type: ignore[arg-type]


def hold(method: Method, strategy: Strategy, received: Mapping[str, Tensor]) -> None:
    """Let a method learn as before, held near what was received by the strategy's losses."""
    plain = method.update

    def update(batch: Batch, step: int, optimise: Optimise) -> dict[str, Tensor]:
        held = Held(optimise, strategy, method, received)
        return {**plain(batch, step, held), **held.last}

    method.update = update  # type: ignore[method-assign]
