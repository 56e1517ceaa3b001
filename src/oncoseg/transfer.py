"""Weights of one network for another: of other modalities, regions, kernels, axes, width or depth.

A weight is found by its name, which counts stages from the finest. Where its shape differs, these
rules hold; what they leave unknown (NaN on the way) keeps the value it was initialised with.

- modalities: by name; one that the model never saw reads as the mean of those it did.
- regions: by name, and the background with them; if none is shared, or classes meet overlapping
  regions, nothing is taken.
- kernel: a larger one is the old one with zeros around it (the same answer everywhere); a smaller
  one adds what falls outside to its edge (the same answer to an image that is constant there). Of
  transposed convolutions each voxel is repeated or averaged. Even sizes are not changed.
- axes: 2-D lies in the middle of the new axis, the coarsest of the 3-D task (the last of equals),
  and 3-D is added up along it.
- width, in encoders alone, since decoders concatenate: of a narrower network the first channels are
  taken; in a wider one they do as before and ignore the new ones.
- depth: stages and blocks without a namesake are initialised, or left out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg import registry
from oncoseg.case import Task
from oncoseg.errors import BadFile, BadRun, OncosegError
from oncoseg.predict.engines import bare_batch
from oncoseg.trainable import Network

SHARED = 0.5  # of the encoder's weights that a model to start from must have
Shape = tuple[int, ...]
CONVS = (nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
CANNOT = (OncosegError, AssertionError, RuntimeError, *NONSENSE)  # be built, or run on shapes


@dataclass
class Transfer:
    """What a network took from a model, by the names of its tensors.

    They are `loaded` as they are, `adapted` (how), `cut` (how: a part was left out) or
    `initialised`; `left_out` names the model's that have no place. `taken` of `parameters` follow
    from the model, zeros of the rules among them, and a share `encoder` of the encoder's.
    """

    model: str
    loaded: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    cut: dict[str, str] = field(default_factory=dict)
    initialised: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    taken: int = 0
    parameters: int = 0
    encoder: float = 0.0

    def __str__(self) -> str:
        """One sentence for a person."""
        kinds = ("loaded", "adapted", "cut", "initialised", "left_out")
        counts = ", ".join(f"{len(getattr(self, k))} {k.replace('_', ' ')}" for k in kinds)
        return (
            f"starting from {self.model}: tensors {counts}; {self.taken} of {self.parameters} "
            f"parameters, {self.encoder:.0%} of the encoder's; see start.json"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass
class Change:
    """A weight on its way: what it is so far, NaN where unknown, how it came to be so."""

    weight: Tensor
    how: list[str] = field(default_factory=list)
    cut: bool = False

    def to(self, weight: Tensor, how: str, *, cut: bool = False) -> None:
        """Take the next form."""
        self.weight, self.cut = weight, self.cut or cut
        self.how.append(how)


def transfer(
    path: Path,
    weights: Mapping[str, Tensor],
    spelled: str,
    old: Task,
    network: Network,
    task: Task,
) -> Transfer:
    """Give a network for a task what fits it of the weights of the network `spelled`, for `old`.

    Raises `BadRun` if less than half of its encoder is among them, which would be a training from
    scratch that looks like another, or if they are not all numbers; `BadFile` if they are not those
    of the network `spelled`.
    """
    own = shapes_of(spelled, old)
    if own and own != {name: tuple(value.shape) for name, value in weights.items()}:
        cause = "its weights are not those of its network"
        raise BadFile(path, cause, "fetch or train the model again")
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise BadRun("the weights to start from are not all numbers; start from another model")
    pair = Pair(old, task, _reading(spelled, old), _telling(spelled, old))
    modules, encoding = dict(network.named_modules()), encoder_of(network, task)
    report, found, size = Transfer(str(path)), 0, 0
    for name, value in network.state_dict().items():
        change = Change(weights[name].to(value.dtype)) if name in weights else None
        if change and value.is_floating_point():
            pair.change(change, name, value, modules[name.rpartition(".")[0]], name in encoding)
        taken = _put(name, change, value, report)
        if name in encoding:
            found, size = found + taken, size + value.numel()
    report.left_out = [name for name in weights if name not in network.state_dict()]
    report.encoder = found / max(1, size)
    if report.encoder < SHARED:
        raise BadRun(
            f"{path} has {report.encoder:.0%} of the weights of the encoder to be trained, and "
            f"with less than {SHARED:.0%} training is from scratch; start from a model of the same "
            f"network, or train without --start"
        )
    return report


@dataclass
class Pair:
    """Two tasks, and which weights of the first one's network read modalities or tell regions."""

    old: Task
    task: Task
    reads: Mapping[str, bool]
    tells: Mapping[str, bool]

    def change(
        self, change: Change, name: str, like: Tensor, module: nn.Module, encodes: bool
    ) -> None:
        """Apply the rules to one weight."""
        if name in self.reads and self.old.modalities != self.task.modalities:
            _modalities(change, self.old, self.task, whole=self.reads[name])
        if name in self.tells and _outputs(self.old) != _outputs(self.task):
            _regions(change, self.old, self.task, whole=self.tells[name])
        if like.ndim > 3 and isinstance(module, (*CONVS, *TRANSPOSED)):
            spreads = isinstance(module, TRANSPOSED)
            _kernel(change, like, self.old, self.task, transposed=spreads)
        norm = all(value.ndim == 1 for value in module.parameters(recurse=False))
        if encodes and (norm or isinstance(module, CONVS)):
            _width(change, like)


def _put(name: str, change: Change | None, value: Tensor, report: Transfer) -> int:
    """Write into a tensor of the network what is known of it; returns how many numbers that is."""
    report.parameters += value.numel()
    known = change is not None and change.weight.shape == value.shape
    mask = ~change.weight.isnan() if change and known else torch.zeros(())
    taken = int(mask.sum())
    if change is None or not taken:
        report.initialised.append(name)
        return 0
    with torch.no_grad():
        value.copy_(torch.where(mask, change.weight, value))
    if change.how:
        (report.cut if change.cut else report.adapted)[name] = ", ".join(change.how)
    else:
        report.loaded.append(name)
    report.taken += taken
    return taken


def _modalities(change: Change, old: Task, task: Task, *, whole: bool) -> None:
    """Axis 1 holds every modality, once or several times over (their presence follows them)."""
    how = _names("modalities", old.modalities, task.modalities)
    if not whole:
        return change.to(torch.full_like(change.weight, torch.nan), how)
    parts = change.weight.unflatten(1, (-1, old.inputs))
    columns = [
        parts[:, :, old.modalities.index(name)] if name in old.modalities else parts.mean(2)
        for name in task.modalities
    ]
    gone = set(old.modalities) - set(task.modalities)
    return change.to(torch.stack(columns, dim=2).flatten(1, 2), how, cut=bool(gone))


def _regions(change: Change, old: Task, task: Task, *, whole: bool) -> None:
    """Axis 0 holds every region, after the background where they exclude one another."""
    had, wanted = _outputs(old), _outputs(task)
    rows = change.weight.new_full((len(wanted), *change.weight.shape[1:]), torch.nan)
    shared = set(old.regions) & set(task.regions)
    if whole and shared and old.exclusive == task.exclusive:
        for row, name in enumerate(wanted):
            if name in had:
                rows[row] = change.weight[had.index(name)]
    how = _names("regions", tuple(old.regions), tuple(task.regions))
    change.to(rows, how, cut=set(old.regions) > shared)


def _kernel(change: Change, like: Tensor, old: Task, task: Task, *, transposed: bool) -> None:
    """Axes 2 and on are space."""
    weight, sizes = change.weight, list(like.shape[2:])
    if tuple(weight.shape[2:]) == tuple(sizes) or abs(weight.ndim - like.ndim) > 1:
        return
    before = weight.shape[2:]
    if weight.ndim < like.ndim:
        weight = weight.unsqueeze(2 + _across(task))
    elif weight.ndim > like.ndim:
        sizes.insert(_across(old), 1)
    for axis, size in enumerate(sizes, start=2):
        resized = (_voxels if transposed else _taps)(weight, axis, size)
        if resized is None:
            return
        weight = resized
    if weight.ndim > like.ndim:
        weight = weight.squeeze(2 + _across(old))
    change.to(weight, f"kernel {_times(before)} -> {_times(like.shape[2:])}")


def _taps(weight: Tensor, axis: int, size: int) -> Tensor | None:
    """A kernel along an axis with zeros around it, or with what is outside added to its edge."""
    had = weight.shape[axis]
    if had == size:
        return weight
    if not had % 2 or not size % 2:
        return None
    spare = abs(had - size) // 2
    if size > had:
        zeros = torch.zeros_like(weight.narrow(axis, 0, 1))
        wide = zeros.expand(*weight.shape[:axis], spare, *weight.shape[axis + 1 :])
        return torch.cat([wide, weight, wide], dim=axis)
    inner = weight.narrow(axis, spare, size).clone()
    inner.select(axis, 0).add_(weight.narrow(axis, 0, spare).sum(axis))
    inner.select(axis, size - 1).add_(weight.narrow(axis, had - spare, spare).sum(axis))
    return inner


def _voxels(weight: Tensor, axis: int, size: int) -> Tensor | None:
    """A transposed kernel, of which each entry makes a voxel, for more or fewer voxels."""
    had = weight.shape[axis]
    if size % had == 0:
        return weight.repeat_interleave(size // had, dim=axis)
    if had % size == 0:
        return weight.unflatten(axis, (size, had // size)).mean(axis + 1)
    return None


def _width(change: Change, like: Tensor) -> None:
    """Axes 0 and 1 are channels: the first ones are those there were, and ignore the others."""
    weight = change.weight
    if weight.shape == like.shape or weight.shape[2:] != like.shape[2:] or weight.ndim != like.ndim:
        return
    pairs = list(zip(weight.shape[:2], like.shape[:2]))
    both = tuple(slice(0, min(pair)) for pair in pairs)
    found = torch.full_like(like, torch.nan)
    found[both[:1]] = 0
    found[both] = weight[both]
    change.to(
        found,
        f"width {_times(weight.shape[:2])} -> {_times(like.shape[:2])}",
        cut=any(had > size for had, size in pairs),
    )


def encoder_of(network: Network, task: Task) -> set[str]:
    """Names of the parameters and buffers of whatever `encode` calls, all where it cannot be seen.

    It runs on shapes alone, so that it takes neither time nor memory.
    """
    held = [*network.parameters(), *network.buffers()]
    shadow = copy.deepcopy(network, {id(value): value.detach().to("meta") for value in held})
    called: list[str] = []
    for name, module in shadow.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
    image = torch.empty((2, task.inputs, *task.patch), device="meta")
    try:
        shadow.eval().encode(bare_batch(image, image))
    except CANNOT:
        called = [""]
    within = tuple(f"{name}." if name else "" for name in called)
    found = {name for name in network.state_dict() if name.startswith(within)}
    return found or set(network.state_dict())


def _reading(spelled: str, task: Task) -> dict[str, bool]:
    """Weights that one more modality would widen, and whether their axis 1 holds nothing else."""
    more = replace(task, modalities=(*task.modalities, "one more"))
    return {
        name: len(now) > 1 and (then[1] - now[1]) * task.inputs == now[1]
        for name, now, then in _differing(spelled, task, more)
    }


def _telling(spelled: str, task: Task) -> dict[str, bool]:
    """Weights that one more region would widen, and whether their axis 0 holds the outputs."""
    labels = {**task.labels, "one more": max(task.labels.values()) + 1}
    more = replace(task, labels=labels, regions={**task.regions, "one more": ("one more",)})
    return {
        name: now[0] == task.outputs and then == (task.outputs + 1, *now[1:])
        for name, now, then in _differing(spelled, task, more)
    }


def _differing(spelled: str, task: Task, more: Task) -> Iterator[tuple[str, Shape, Shape]]:
    """Name and both shapes of each weight that has another shape for another task."""
    now, then = shapes_of(spelled, task), shapes_of(spelled, more)
    for name in now.keys() & then.keys():
        if now[name] != then[name] and len(now[name]) == len(then[name]):
            yield name, now[name], then[name]


def shapes_of(spelled: str, task: Task) -> dict[str, Shape]:
    """Name -> shape of each weight, built without memory; none where it cannot be built so."""
    try:
        with torch.device("meta"):
            network: Network = registry.build("networks", spelled, task)
    except CANNOT:
        return {}
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _outputs(task: Task) -> list[str]:
    """What each output is of; the background has no name."""
    return [*([""] if task.exclusive else []), *task.regions]


def _across(task: Task) -> int:
    """The axis of a 3-D task that 2-D lacks: of the longest voxels, the last of equals."""
    return max(range(task.dims), key=lambda axis: (task.spacing[axis], axis))


def _names(kind: str, had: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    """`regions (new: cyst; left out: liver)`."""
    new = ", ".join(name for name in wanted if name not in had)
    gone = ", ".join(name for name in had if name not in wanted)
    said = [f"new: {new}"] * bool(new) + [f"left out: {gone}"] * bool(gone) or ["in another order"]
    return f"{kind} ({'; '.join(said)})"


def _times(sizes: Any) -> str:
    return "x".join(map(str, sizes))
