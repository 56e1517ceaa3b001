"""The contracts of parts that learn: networks, methods, losses, augmentations, strategies.

Needs torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from oncoseg.case import Batch, Task


class Network(nn.Module, ABC):
    """An architecture: `encode` a batch to a pyramid of features, `decode` the pyramid to logits.

    The constructor takes the task, then keyword-only options. One law: `encode` never reads
    `batch.prompts`. `widths` holds the channels of each level of the pyramid, so that any decoder
    can be put on any encoder. `gives` names what it can do beyond logits (a literal, read without
    importing): methods that need it refuse networks without; one that does not segment repeats in
    `only` what it is good for, and methods that need none of it refuse it. `alone` is empty, or the
    reason why the network cannot be exported and so runs in torch alone. `maps` names the further
    maps that `answer` gives after the logits.
    """

    gives: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[tuple[str, ...]] = ()
    alone: str = ""
    maps: ClassVar[tuple[str, ...]] = ()
    widths: Sequence[int]

    @abstractmethod
    def encode(self, batch: Batch) -> list[Tensor]:
        """Batch -> features [(B, C_i, *S_i)], finest first."""

    @abstractmethod
    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Pyramid -> logits [(B, outputs, *S), then coarser for deep supervision], finest first."""

    def forward(self, batch: Batch) -> list[Tensor]:
        """Logits, finest first; in evaluation the finest alone."""
        logits = self.decode(self.encode(batch), batch)
        return logits if self.training else logits[:1]

    def answer(self, batch: Batch) -> Tensor:
        """(B, outputs + maps, *S): what is exported and what prediction reads."""
        finest: Tensor = self(batch)[0]
        return finest

    def samples(self, batch: Batch, count: int) -> Tensor:
        """(count, B, outputs, *S) plausible logits; networks without randomness give copies."""
        logits = self(batch)[0]
        return logits.expand(count, *logits.shape)


class Loss(nn.Module, ABC):
    """(logits, target, weight) -> scalar.

    Shapes: logits and target (B, outputs, *S), weight (B, 1 or outputs, *S).
    `exclusive` says whether the outputs are classes under a softmax (background first) or regions
    under sigmoids.
    """

    def __init__(self, *, exclusive: bool = True) -> None:
        super().__init__()
        self.exclusive = exclusive

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Mean over what has weight; zero, with a gradient, where nothing has."""

    def ideal(self, target: Tensor) -> Tensor:
        """Logits (B, outputs, *S) that cost next to nothing; for most, those that are sure."""
        return (2 * target - 1) * 20


class Augmentation(ABC):
    """Batch -> batch, on whatever device the batch is.

    Draws from torch's global generator, which the loop seeds. `models` names the options that hold
    model files of trained networks it works with (generators); `use` is handed each that is given.
    `mirrors` holds the axes of a patch along which it mirrors what is seen, half of the time.
    """

    models: ClassVar[tuple[str, ...]] = ("model",)
    mirrors: tuple[int, ...] = ()

    def use(self, name: str, network: Network, task: Task) -> None:  # noqa: B027 - most use none
        """Take the network of the model file in option `name`, and the task it was trained for.

        It is frozen, on the device of the training, and sees the modalities of the run in order.
        Raise `BadRun` if it is for another task than is wanted.
        """

    @abstractmethod
    def __call__(self, batch: Batch) -> Batch:
        """A new batch; the one given is not changed."""


class Method(nn.Module, ABC):
    """A way to learn: named losses from a batch.

    Loops, devices, precision and logging are not its business. `needs` (a literal, read without
    importing) says what it cannot do without: `labeled` and `unlabeled` cases (both: half of each
    batch are labelled and come first; without `labeled` it is never shown a label), a trained model
    to `start` from, or what a network gives beyond logits. `models` names the options that hold
    model files of other trained networks it works with; `use` is handed each that is given. Where
    `segments` is false, what it makes is to start from or to paint with, and `predict` refuses it.
    """

    needs: ClassVar[tuple[str, ...]] = ("labeled",)
    segments: ClassVar[bool] = True
    models: ClassVar[tuple[str, ...]] = ("model",)

    def __init__(self, network: Network, task: Task, loss: Loss) -> None:
        super().__init__()
        self.network, self.task, self.loss = network, task, loss

    @abstractmethod
    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named scalars; their sum is what is minimised."""

    def update(self, batch: Batch, step: int, optimise: Optimise) -> dict[str, Tensor]:
        """One step of learning; a method with two optimisers calls `optimise` for each."""
        losses = self.losses(batch, step)
        optimise(torch.stack(list(losses.values())).sum(), self.trained)
        return losses

    def after_step(self, step: int) -> None:
        """Called after every optimiser step: moving averages, queues."""

    def use(self, name: str, network: Network, task: Task) -> None:
        """Take the network of the model file in option `name`, and the task it was trained for.

        It is frozen and sees the modalities of the run in order. Raise `BadRun` if it is for
        another task than is wanted.
        """

    @property
    def trained(self) -> Sequence[nn.Module]:
        """The modules whose parameters the optimiser holds."""
        return [self.network]

    @property
    def result(self) -> Network:
        """The network that is kept."""
        return self.network

    @classmethod
    def pretext(cls, task: Task, **options: Any) -> Task:
        """The task that the network is built for, where not the user's; `options` are the method's.

        Batches hold the labels of the user's task all the same.
        """
        return task


class Optimise(ABC):
    """What the loop hands to `Method.update`: backward, clip, step, for some modules."""

    @abstractmethod
    def __call__(self, loss: Tensor, modules: Sequence[nn.Module]) -> None:
        """Make one optimiser step that lowers `loss` by the parameters of `modules` alone."""


class Strategy(ABC):  # noqa: B024 - every method has a default, none is forced
    """How sites learn together without sharing data; the defaults are federated averaging."""

    def shares(self, name: str) -> bool:
        """Whether the parameter of this name leaves its site."""
        return True

    def hold(self, method: Method, received: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Extra losses that hold a site near what it received."""
        return {}

    def merge(
        self, states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]
    ) -> dict[str, Tensor]:
        """Weighted mean of the sites' parameters; that of whole numbers is rounded."""
        total, merged = float(sum(weights)), {}
        for name, like in states[0].items():
            parts = [state[name].double() * part for state, part in zip(states, weights)]
            mean = torch.stack(parts).sum(0) / total
            merged[name] = (mean if like.is_floating_point() else mean.round()).to(like.dtype)
        return merged
