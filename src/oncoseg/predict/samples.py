"""Several answers to one window, from one model: their mean, and how far they differ.

What a model offers, in this order: draws of a network that is made to give many answers, the
members of one that holds several, units dropped at random of one that was trained so, or views
mirrored along the axes along which its training mirrored. Draws are the same in every window, so
that windows that overlap tell one story.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from oncoseg import registry
from oncoseg.case import Array, Task
from oncoseg.errors import BadFile, BadOption
from oncoseg.extras import require
from oncoseg.model import REMEDY, Model
from oncoseg.predict.engines import bare_batch, engine, torch_device
from oncoseg.predict.window import Infer, begun

SPREAD = "spread"
Many = Callable[[Array, Array], Iterator[Array]]


def spreads(task: Task) -> tuple[str, ...]:
    """Names of the maps that come after the network's own."""
    return tuple(f"{SPREAD}.{name}" for name in task.regions)


class Samples:
    """An `Infer` that gives the mean of `count` logits and maps, then a spread a region.

    The spread is the standard deviation (of count - 1) of the region's probability, of logits after
    `soften`. `told` says what the samples are. Raises `BadOption` if the model offers fewer.
    """

    def __init__(
        self,
        model: Model,
        count: int,
        name: str = "openvino",
        device: str = "",
        threads: int = 0,
        *,
        soften: Callable[[Array], Array] = lambda logits: logits,
    ) -> None:
        kind, most = offered(model)
        if count < 2:
            raise BadOption(f"'samples' takes 2 or more, not {count}")
        if count > most:
            has = (
                f"{most} {kind}"
                if most
                else "nothing to sample: no draws, members or mirrored axes"
            )
            raise BadOption(f"{model.path} has {has}; ask for no more samples than there are")
        self.task, self.soften, self.count = model.task, soften, count
        self.inner: Infer | None = None
        self.told = f"Mean of {count} {kind}; where they differ, spread maps say by how much."
        if kind == "mirrored views":
            self.inner = engine(model, name, device, threads)
            self.answers = views(self.inner, axes_of(model), count)
        else:
            self.answers = drawn(model, count, device, drop=kind == "random dropouts")

    def __call__(self, image: Array, present: Array) -> Array:
        """Patches (B, M, *patch) -> (B, outputs + maps + regions, *patch) float32."""
        return np.stack([self._one(a[None], b[None]) for a, b in zip(image, present)])

    def begun(self) -> None:
        """Another scan begins: pass it on to the engine."""
        if self.inner:
            begun(self.inner)

    def _one(self, image: Array, present: Array) -> Array:
        mean = middle = squares = np.float32(0)
        for place, answer in enumerate(self.answers(image, present), start=1):
            logits = answer[: self.task.outputs]
            flat = self.soften(logits.reshape(len(logits), -1))
            chance = self.task.probabilities(flat).reshape(-1, *logits.shape[1:])
            off, mean = chance - middle, mean + answer
            middle = middle + off / place
            squares = squares + off * (chance - middle)
        spread = np.sqrt(squares / (self.count - 1)) * present[0].any(axis=0)
        return np.concatenate([mean / self.count, spread]).astype(np.float32)


def offered(model: Model) -> tuple[str, int]:
    """What a model's samples would be, and how many there are at most (0: none)."""
    spelled = model.spelled
    options = registry.chosen("networks", spelled)
    gives = registry.entry("networks", spelled.partition(":")[0].strip()).gives
    if "draws" in gives and not model.maps:
        return "draws of the network", 1000
    if int(options.get("members", 1)) > 1:
        return "members", int(options["members"])
    if float(options.get("dropout", 0)) > 0:
        return "random dropouts", 1000
    axes = axes_of(model)
    return "mirrored views", 2 ** len(axes) if axes else 0


def axes_of(model: Model) -> tuple[int, ...]:
    """Axes of a patch along which its training mirrored, as its card says."""
    said = str(model.card.get("mirrored_axes", ""))
    axes = [word.strip() for word in said.split(",") if word.strip()]
    if not set(axes) <= {str(axis) for axis in range(model.task.dims)}:
        raise BadFile(model.path, "its card.json mirrors along axes that there are not", REMEDY)
    return tuple(sorted({int(axis) for axis in axes}))


def views(infer: Infer, axes: tuple[int, ...], count: int) -> Many:
    """The first `count` of all ways to mirror: as it is, along one axis, then along more."""
    ways = [way for size in range(len(axes) + 1) for way in combinations(axes, size)][:count]

    def answers(image: Array, present: Array) -> Iterator[Array]:
        for way in ways:
            turned = tuple(axis + 2 for axis in way)
            flipped = (np.ascontiguousarray(np.flip(each, turned)) for each in (image, present))
            yield np.flip(infer(*flipped), turned)[0]

    return answers


def drawn(model: Model, count: int, device: str, *, drop: bool) -> Many:
    """Answers of the network itself, in torch; of members first the first."""
    torch = require("torch", "train")
    place, network = torch_device(device), model.network()
    network = network.to(place).eval()
    if drop:
        for module in network.modules():
            dropping = isinstance(getattr(module, "dropout", None), float)
            if dropping or isinstance(module, torch.nn.Dropout):
                module.training = True

    def answers(image: Array, present: Array) -> Iterator[Array]:
        batch = bare_batch(*(torch.from_numpy(each).to(place) for each in (image, present)))
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(0)
            if drop:
                yield from (_array(network.answer(batch))[0] for _ in range(count))
            else:
                yield from _array(network.samples(batch, count))[:, 0]

    return answers


def _array(values: Any) -> Array:
    return np.asarray(values.float().cpu())
