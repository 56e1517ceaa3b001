"""A model file, `*.onco`: one zip of data alone, verified member by member when it is opened.

weights.safetensors (float16), graph.onnx (the same network, exported for a patch, if it can be),
plan.json, network.json (the name and options of the network), posthoc.json (what its post-hoc steps
learned, if there are any), appearance.json (how its training's scans look), card.json, LICENSE and
checksums.json. Nothing in it can run code; sizes are limited.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg import __version__, files, registry
from oncoseg.archive import LARGEST, REMEDY, Members, opening, pack
from oncoseg.blocks.appearance import Appearance, remembered, unlikeness
from oncoseg.case import Task
from oncoseg.errors import BadFile, BadRun, unknown
from oncoseg.extras import require
from oncoseg.parts import Posthoc
from oncoseg.prepare.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor

    from oncoseg.prepare.align import Aligned
    from oncoseg.trainable import Network
    from oncoseg.transfer import Transfer

SHIPPED = Path(__file__).parent / "models"
ONNX = b"\x08"  # the field that comes first in it
NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Model:
    """An opened model file."""

    path: Path
    members: Members
    sha256: str

    @cached_property
    def plan(self) -> Plan:
        """How scans are prepared for it."""
        return Plan.from_dict(self._json("plan.json"), self.path)

    @property
    def task(self) -> Task:
        """What it segments."""
        return self.plan.task

    @cached_property
    def card(self) -> dict[str, Any]:
        """Name, version, what it was trained on, figures, licence, citation."""
        card = self._json("card.json")
        if not _figures(card.get("dice_by_modalities", {})):
            cause = "its card.json has figures of modalities that are no numbers"
            raise BadFile(self.path, cause, REMEDY)
        return card

    @property
    def exported(self) -> bool:
        """Whether it holds an exported graph; without, it runs in torch alone."""
        return "graph.onnx" in self.members

    @property
    def graph(self) -> bytes:
        """The exported network as ONNX.

        `image` and `present` are (1, M, *patch) float32, logits (1, outputs + maps, *patch).
        """
        graph = self.members["graph.onnx"]
        if graph[:1] != ONNX or b"location" in graph:
            cause = "its graph is no ONNX, or keeps weights in another file"
            raise BadFile(self.path, cause, REMEDY)
        return graph

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that the network gives after its logits."""
        names = self._json("network.json").get("maps", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BadFile(self.path, "its network.json names maps that are no words", REMEDY)
        return tuple(names)

    @cached_property
    def posthoc(self) -> dict[str, Posthoc]:
        """Its post-hoc steps as they are spelt, in order, with what they learned."""
        if "posthoc.json" not in self.members:
            return {}
        steps = {}
        try:
            for record in self._json("posthoc.json").get("steps", ()):
                step: Posthoc = registry.build("posthoc", record["posthoc"])
                step.state = dict(record["state"])
                steps[str(record["posthoc"])] = step
        except NONSENSE as error:
            cause = f"its posthoc.json makes no sense ({' '.join(str(error).split())})"
            raise BadFile(self.path, cause, REMEDY) from error
        return steps

    def unlikeness(self, new: Aligned) -> dict[str, Any]:
        """How unlike its training's scans an aligned one is: see `blocks.appearance.unlikeness`.

        Nothing, if the model does not know how those look.
        """
        if "appearance.json" not in self.members:
            return {}
        try:
            seen = self._json("appearance.json")["cases"]
            return unlikeness(seen, new.appearance(self.task), self.task.dims)
        except NONSENSE as error:
            cause = f"its appearance.json makes no sense ({' '.join(str(error).split())})"
            raise BadFile(self.path, cause, REMEDY) from error

    @property
    def described(self) -> dict[str, str]:
        """What predictions and reports say of it: plain strings."""
        words = {
            name: str(value)
            for name, value in self.card.items()
            if isinstance(value, (str, int, float))
        }
        ranges = {
            f"intensities_{name}": f"{one.low:g} to {one.high:g}"
            for name, one in self.plan.normalisation.items()
            if one.scheme == "dataset"
        }
        return {**words, **ranges, "sha256": self.sha256}

    @property
    def spelled(self) -> str:
        """The name of its network with its options, as on the command line."""
        spelled = self._json("network.json").get("network")
        if not isinstance(spelled, str):
            raise BadFile(self.path, "its network.json names no network", REMEDY)
        return spelled

    def network(self) -> Network:
        """The network with its weights, on the CPU; needs torch."""
        require("torch", "train")
        self._check_size(self.spelled)
        network: Network = self._built(self.spelled)
        self.load_into(network)
        return network.eval()

    def _built(self, spelled: str) -> Network:
        try:
            network: Network = registry.build("networks", spelled, self.task)
        except (*NONSENSE, AssertionError, MemoryError, RuntimeError) as error:
            why = " ".join(str(error).split())[:200]
            cause = f"its network '{spelled[:80]}' cannot be built ({why})"
            raise BadFile(self.path, cause, REMEDY) from error
        return network

    def _check_size(self, spelled: str) -> None:
        """Refuse options that ask for a larger network than there are weights, before it is built.

        Built without memory for its weights; a network that cannot be is judged when it is loaded.
        """
        torch = require("torch", "train")
        try:
            with torch.device("meta"):
                bare = registry.build("networks", spelled, self.task)
            wanted = sum(value.numel() for value in bare.state_dict().values())
        except (*NONSENSE, AssertionError, MemoryError, RuntimeError):
            return
        if wanted > self.members.sizes["weights.safetensors"]:  # a byte a number at the least
            raise BadFile(self.path, "its weights are not those of its network", REMEDY)

    def load_into(self, network: Network) -> None:
        """Give a network these weights; raises `BadFile` unless every name and shape fits."""
        weights = self._weights()
        like = {name: value.shape for name, value in network.state_dict().items()}
        if {name: value.shape for name, value in weights.items()} != like:
            cause = "its weights are not those of this network"
            raise BadFile(self.path, cause, "use the network and plan that the model was made with")
        kinds = {name: value.dtype for name, value in network.state_dict().items()}
        network.load_state_dict({name: value.to(kinds[name]) for name, value in weights.items()})

    def start(self, network: Network, task: Task) -> Transfer:
        """Give a network for another task those weights that fit it; see `oncoseg.transfer`."""
        from oncoseg.transfer import transfer

        return transfer(self.path, self._weights(), self.spelled, self.task, network, task)

    def _weights(self) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(self.members["weights.safetensors"])
        except (SafetensorError, *NONSENSE) as error:
            raise BadFile(self.path, f"its weights cannot be read ({error})", REMEDY) from error

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content = files.parsed_json(self.members[name])
        except ValueError as error:
            raise BadFile(self.path, f"its {name} is not valid JSON ({error})", REMEDY) from error
        if not isinstance(content, dict):
            raise BadFile(self.path, f"its {name} is not a table of names and values", REMEDY)
        return content


def _figures(table: Any) -> bool:
    """Whether it is a table of tables of numbers."""
    return isinstance(table, dict) and all(
        isinstance(row, dict) and all(isinstance(value, (int, float)) for value in row.values())
        for row in table.values()
    )


def held_out(card: Mapping[str, Any]) -> tuple[dict[str, float], int]:
    """Mean Dice a region of the cases held out of training, and their number; none if not told."""
    said = card.get("validation")
    dice, cases = (said.get("dice"), said.get("cases")) if isinstance(said, dict) else (None, 0)
    if not isinstance(dice, dict) or not isinstance(cases, int):
        return {}, 0
    return {name: one for name, one in dice.items() if isinstance(one, (int, float))}, cases


def redrawn(steps: Mapping[str, Posthoc]) -> str:
    """Names of the steps that change labels, before which a model's validation was."""
    names = [
        registry.parse("posthoc", text)[0] for text, one in steps.items() if "label" in one.changes
    ]
    return ", ".join(names)


def find_model(name: str | Path) -> Path:
    """A path to a model file, or the name of a shipped model.

    Raises `UnknownName` with those there are.
    """
    path = Path(name)
    if path.suffix or path.exists() or len(path.parts) > 1:
        return path
    shipped = {found.stem: found for found in SHIPPED.glob("*.onco")}
    if str(name) not in shipped:
        raise unknown("model", str(name), shipped)
    return shipped[str(name)]


def open_model(name: str | Path) -> Model:
    """Open and verify a model: members, sizes and checksums.

    Raises `BadFile` if anything is off.
    """
    path = find_model(name)
    with opening(path):
        if path.stat().st_size > LARGEST:
            raise BadFile(path, "is larger than 2 GB", REMEDY)
        return Model(path, Members(path), files.sha256(path))


def save_model(
    path: Path,
    network: Network,
    spelled: str,
    plan: Plan,
    card: Mapping[str, Any],
    licence: str,
    posthoc: Sequence[Mapping[str, Any]] = (),
    *,
    seen: Sequence[Appearance] = (),
    whole: bool = False,
) -> Path:
    """Export a network, if it can be, and write its model file; else its card says why not.

    `spelled` is its name with options, as on the command line; its parameters and operations, and
    how far its graph is from it, are written into the card, which may say others; `posthoc` holds
    a record {"posthoc": spelt, "state": what it learned} a step, `seen` how its training's scans
    look. `whole` keeps weights as float32.
    """
    from safetensors.torch import save

    torch = require("torch", "train")
    from oncoseg.export import effort, to_onnx

    network = network.cpu().float().eval()
    kept = {
        name: value if whole or not value.is_floating_point() else value.to(torch.float16)
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(
        {
            name: value.float() if value.is_floating_point() else value
            for name, value in kept.items()
        }
    )
    card = {"oncoseg": __version__, **effort(network, plan.task), **card, **_named(posthoc)}
    members = {
        "weights.safetensors": save({name: value.contiguous() for name, value in kept.items()}),
        "plan.json": _dump(plan.as_dict()),
        "network.json": _dump({"network": spelled, "maps": list(network.maps)}),
        "LICENSE": licence.encode(),
    }
    alone = network.alone
    try:
        if not alone:
            members["graph.onnx"], worst = to_onnx(network, plan.task, whole=whole)
            card = {"graph_differs": worst, **card}
    except BadRun as error:
        alone = str(error)
    if alone:
        card = {"torch_alone": alone, **card}
    members["card.json"] = _dump(card)
    if posthoc:
        members["posthoc.json"] = _dump({"steps": list(posthoc)})
    if seen:
        members["appearance.json"] = json.dumps({"cases": remembered(seen)}).encode()
    return pack(path, members)


def taught(model: Model, posthoc: Sequence[Mapping[str, Any]], to: Path) -> Path:
    """The same model with other post-hoc steps, records as `save_model` takes; its card names them.

    Returns where it was written.
    """
    card = {**model.card, "posthoc": "", **_named(posthoc)}
    steps = {"posthoc.json": _dump({"steps": list(posthoc)}), "card.json": _dump(card)}
    return pack(to, {**model.members, **steps})


def _named(posthoc: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What a card says of post-hoc steps: their names."""
    names = ", ".join(registry.parse("posthoc", one["posthoc"])[0] for one in posthoc)
    return {"posthoc": names} if names else {}


def _dump(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
