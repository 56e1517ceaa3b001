"""Ranks: one training by several processes, each with its share of every batch."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from oncoseg.errors import BadRun, OncosegError, Stopped
from oncoseg.trainable import Optimise

CLIP = 12.0
PATIENCE = timedelta(days=7)  # the first may prepare or validate for long, and torchrun watches
LOSS, STEP = 1, 2  # where in a step a process is
ROOM = 12  # numbers that say where
Found = TypeVar("Found")


class Lost(OncosegError):
    """Another process of the same training has ended."""


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is; alone, all that follows does nothing.

    All of them must come to the same calls in the same order. Processes talk of numbers through
    the processor and of gradients through the device.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, validates and speaks."""
        return self.index == 0

    def most(self, *values: float) -> list[float]:
        """The greatest of each of these values among all processes, which wait for one another."""
        told = torch.tensor(values, dtype=torch.float64)
        if self.count > 1:
            with _heard():
                dist.all_reduce(told, dist.ReduceOp.MAX)
        return [float(value) for value in told]

    def together(self, do: Callable[[], Found]) -> Found:
        """What each process does, and then waits; where one fails all end, and one says why."""
        error = None
        try:
            found = do()
        except OncosegError as raised:
            error = raised
        first, some = self.most(float(error is not None and self.first), float(error is not None))
        if first and not self.first:
            raise SystemExit(1)
        if error:
            raise error
        if some:
            raise Lost("another process of this training failed, and says why")
        return found

    def once(self, do: Callable[[], object]) -> None:
        """What the first does while the others wait."""
        self.together(lambda: do() if self.first else None)

    def follow(self, tensors: Iterable[Tensor]) -> None:
        """Take the values that the first has."""
        if self.count > 1:
            with _heard(), torch.no_grad():
                for tensor in tensors:
                    values = tensor.contiguous()
                    dist.broadcast(values, 0)
                    tensor.copy_(values)

    def mean(self, losses: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Losses of the whole batch, from those of the shares."""
        if self.count == 1:
            return losses
        values = torch.stack([value.detach().float() for value in losses.values()])
        with _heard():
            dist.all_reduce(values)
        return dict(zip(losses, values / self.count))

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Gradients of the whole batch; none for a parameter that no process has used."""
        if self.count == 1:
            return
        self._told(STEP, 0, 0, len(parameters))
        used = self.most(*(float(value.grad is not None) for value in parameters))
        some = [value for value, mark in zip(parameters, used) if mark]
        grads = [torch.zeros_like(value) if value.grad is None else value.grad for value in some]
        if not grads:
            return
        flat = torch.cat([grad.flatten() for grad in grads])
        with _heard():
            dist.all_reduce(flat)
        parts = (flat / self.count).split([grad.numel() for grad in grads])
        for value, grad, part in zip(some, grads, parts):
            value.grad = grad.copy_(part.view_as(grad))

    def share(self, loss: nn.Module) -> None:
        """Let a loss see the whole batch in each process, as the Dice of a batch must.

        Its gradient goes to the process's own share, times the processes, so that the mean of all
        gradients is that of the whole batch.
        """
        if self.count > 1:
            loss.register_forward_pre_hook(self._whole)

    def _whole(self, _: nn.Module, given: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
        logits, target, weight = given
        rows = self._told(LOSS, len(logits), weight.shape[1], *logits.shape[1:])
        if max(row[2] for row in rows) > weight.shape[1]:
            weight = weight.expand(-1, logits.shape[1], *weight.shape[2:])
        sizes = [row[1] for row in rows]
        parts = (logits, target, weight)
        return tuple(_Gather.apply(part.float(), self.index, sizes) for part in parts)

    def _told(self, *numbers: int) -> list[list[int]]:
        """What each process says of where it is: place, items, channels of weight, shape."""
        mine = torch.tensor([*numbers, *[0] * (ROOM - len(numbers))])
        rows = [torch.empty_like(mine) for _ in range(self.count)]
        with _heard():
            dist.all_gather(rows, mine)
        said: list[list[int]] = [row.tolist() for row in rows]
        if len({(row[0], *row[3:]) for row in said}) > 1:
            raise BadRun(
                "this method does not do the same in each process; train in one, without torchrun"
            )
        return said


class _Gather(torch.autograd.Function):
    """Items of all processes, one after the other; the gradient of one's own, times processes."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, index: int, sizes: Sequence[int]) -> Tensor:
        """(B_i, ...) of process i -> (sum of all B, ...)."""
        ctx.index, ctx.sizes = index, sizes
        parts = [part.new_empty(size, *part.shape[1:]) for size in sizes]
        parts[index] = part.contiguous()
        with _heard():
            for rank, values in enumerate(parts):
                dist.broadcast(values, rank)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """All processes have the same loss, so no gradient need be sent."""
        return grads[0].split(ctx.sizes)[ctx.index] * len(ctx.sizes), None, None


@dataclass
class Step(Optimise):
    """Backward, mean over the processes, clip the norm of the gradient, step.

    Parameters of other modules get no gradient and so do not move: one optimiser is as many as a
    method has networks. `largest` is the largest norm since it was last looked at.
    """

    optimiser: torch.optim.Optimizer
    ranks: Ranks = field(default_factory=Ranks)
    largest: Tensor = field(default_factory=lambda: torch.zeros(()))

    def __call__(self, loss: Tensor, modules: Sequence[nn.Module]) -> None:
        """Lower `loss` by one step for the parameters of `modules`."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [parameter for module in modules for parameter in module.parameters()]
        wanted = set(map(id, parameters))
        for group in self.optimiser.param_groups:
            for other in group["params"]:
                if id(other) not in wanted:
                    other.grad = None
        self.ranks.average(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        self.largest = torch.maximum(self.largest.to(norm), norm)
        self.optimiser.step()

    def look(self) -> None:
        """Raise `FloatingPointError` if a norm since the last look was infinite or no number.

        Clipped to nothing, such a gradient would teach nothing and not be seen. Only a look has to
        wait for a GPU.
        """
        largest, self.largest = self.largest, torch.zeros(())
        if not torch.isfinite(largest):
            raise FloatingPointError


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The processes that torchrun has started, joined while the block runs; else this one alone.

    Only the first goes on after the block, or says how it failed.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield Ranks()
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        _take_gpu(device)
    # Imported later, as an optimiser does, it keeps the group in its defaults: its threads then
    # outlive the end of the group, and may abort a process that ends well.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    ranks = Ranks(dist.get_rank(), dist.get_world_size())
    if not ranks.first:
        logging.getLogger("oncoseg").setLevel(logging.ERROR)
    try:
        yield ranks
    except Stopped as error:
        if ranks.first:
            raise
        raise SystemExit(error.code) from None
    dist.destroy_process_group()
    if not ranks.first:
        raise SystemExit(0)


def alone(option: str) -> None:
    """Refuse torchrun for what is several trainings; raises `BadRun`."""
    if dist.is_available() and dist.is_torchelastic_launched():
        raise BadRun(f"{option} is several trainings; spread them with --cluster, not torchrun")


def _take_gpu(device: str) -> None:
    """Each process on a machine takes a GPU of its own."""
    place, there = dist.get_node_local_rank(), torch.cuda.device_count()
    if torch.device(device).index is not None:
        raise BadRun(f"torchrun gives each process a GPU of its own: --device cuda, not {device}")
    if place >= there:
        raise BadRun(f"process {place + 1} of this machine finds {there} GPUs; start no more")
    torch.cuda.set_device(place)


@contextmanager
def _heard() -> Iterator[None]:
    """A process that is gone is an error of its own."""
    try:
        yield
    except RuntimeError as error:
        cause = " ".join(str(error).split())[-120:]
        raise Lost(
            f"another process of this training has ended ({cause}); start all again with --resume"
        ) from error
