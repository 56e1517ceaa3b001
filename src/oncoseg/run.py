"""One record of a training run, written as `run.toml` beside its checkpoints.

That file alone reproduces the run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from oncoseg import files, registry
from oncoseg.errors import BadFile, BadRun

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

POSTHOC = ("temperature", "predicted_dice", "conformal")
NONE = ("none",)
AUGMENTATIONS = ("spatial", "intensity", "modality_dropout")
BOUNDS = {
    "minutes": (0, 10**6),
    "steps": (0, 10**9),
    "folds": (1, 10**6),
    "rate": (0, 10),
    "decay": (0, 1),
    "average": (0, 1),
    "batch": (0, 10**6),
    "foreground": (0, 1),
    "workers": (1, 256),
    "labelled": (0, 10**6),
}
EACH = -1  # as a fold: each in turn, then a model of all cases
KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list of texts",
    dict: "a table",
}


@dataclass(frozen=True)
class Run:
    """Everything that decides what a training run does.

    Parts are spelt `name:option=value,...`; an empty `network` means a U-Net as wide as the device
    can train. Either `minutes` (the default) or `steps` bounds the training; 0 means that the other
    one does. `folds` of 1 trains on all cases. `fold` counts from 0, -1 is each in turn; no patient
    is in two, or no site, as `apart` says. Empty `labels`, `regions` and
    `modalities` mean what the data set itself says; patients in `hold` are held out instead of a
    fold. `batch` 0 means the plan's (2 on a CPU), `device` "" the best there is. With `balanced`,
    sites are seen equally often, however many cases each has. `start` is a model file whose weights
    the network starts from where they fit. With `labelled` above 0, the labels of so many training
    patients, drawn by the seed, are used and those of the others hidden. `voxels` bounds a patch; 0
    means as many as leave time for a thousand steps. `posthoc` steps learn from the
    predictions of held-out cases and are kept in the model; none given means those in `POSTHOC`
    where held-out cases can teach them, `none` no step. `deterministic` refuses whatever would not
    give the same bits each time; without it, a CPU does so too.
    """

    data: str
    to: str
    network: str = ""
    method: str = "supervised"
    loss: str = "dice_ce"
    augmentations: tuple[str, ...] = AUGMENTATIONS
    minutes: float = 60.0
    steps: int = 0
    folds: int = 1
    fold: int = 0
    apart: str = "patient"
    hold: tuple[str, ...] = ()
    seed: int = 0
    rate: float = 1e-3
    decay: float = 1e-2
    average: float = 0.999
    batch: int = 0
    voxels: int = 0
    foreground: float = 0.5
    balanced: bool = False
    device: str = ""
    precision: str = "bf16"
    compiled: bool = False
    deterministic: bool = False
    workers: int = 2
    tensorboard: bool = False
    plan: str = ""
    start: str = ""
    labelled: int = 0
    posthoc: tuple[str, ...] = ()
    name: str = ""
    card: str = ""
    modalities: tuple[str, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    regions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def half(self) -> bool:
        """Whether networks compute in bfloat16 where torch says that they may."""
        return self.precision == "bf16"

    @property
    def folder(self) -> Path:
        """Where checkpoints, metrics and the prepared data of the run lie.

        Beside the model file.
        """
        target = Path(self.to)
        return target.with_name(target.stem + ".run")

    def check(self) -> None:
        """Refuse what cannot work, before any work.

        Raises one of the errors in `oncoseg.errors`.
        """
        self._check_values()
        if Path(self.to).suffix != ".onco":
            raise BadRun(f"a model is written to a file ending in .onco, not '{self.to}'")
        if self.minutes <= 0 and self.steps <= 0:
            raise BadRun("say how long to train: --minutes or --steps must be above 0")
        if self.apart not in {"patient", "site"}:
            raise BadRun(f"folds are kept apart by patient or site, not '{self.apart}'")
        if self.folds > 1 and self.fold != EACH and not 0 <= self.fold < self.folds:
            raise BadRun(
                f"--fold counts from 0 to {self.folds - 1} with --folds {self.folds}, "
                f"not {self.fold}"
            )
        if self.deterministic and not self.steps:
            raise BadRun(
                "a training by the clock never gives the same weights twice; bound it with --steps"
            )
        self._check_needs()
        if self.precision not in {"bf16", "f32"}:
            raise BadRun(f"precision is bf16 or f32, not '{self.precision}'")
        if not Path(self.data).exists():
            raise BadFile(self.data, "does not exist", "give the folder of the data set")

    def _check_values(self) -> None:
        """Refuse parts that do not exist and numbers out of their bounds."""
        parts = [("methods", self.method), ("losses", self.loss)]
        parts += [("networks", self.network)] if self.network else []
        parts += [("augmentations", text) for text in self.augmentations]
        parts += [("posthoc", text) for text in self.posthoc if self.posthoc != NONE]
        for slot, text in parts:
            registry.parse(slot, text)
        for name, (low, high) in BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise BadRun(f"{name} is from {low} to {high}, not {getattr(self, name)}")

    def _check_needs(self) -> None:
        """Refuse a method whose needs the run does not meet, without importing anything."""
        method, _ = registry.parse("methods", self.method)
        network, _ = registry.parse("networks", self.network or "unet")
        found = registry.entry("networks", network)
        gives, needs = found.gives, registry.entry("methods", method).needs
        if found.only and not set(found.only) & set(needs):
            meant = [e.name for e in registry.entries("methods") if set(found.only) & set(e.needs)]
            raise BadRun(
                f"{network} gives {', '.join(found.only)} and no segmentation, so it is not for "
                f"{method}; train it with {', '.join(meant) or 'another method'}"
            )
        for need in needs:
            if need == "start" and not self.start:
                raise BadRun(f"{method} goes on from a trained model; name it with --start")
            if need not in {"labeled", "unlabeled", "start", *gives}:
                able = [each.name for each in registry.entries("networks") if need in each.gives]
                raise BadRun(
                    f"{method} needs a network that gives {need}, which {network} does not; "
                    f"there are {', '.join(able) or 'none'}"
                )
        if self.posthoc not in ((), NONE) and self.folds < 2 and not self.hold:
            raise BadRun("posthoc steps learn from held-out cases; hold some out, with --fold 0")

    def write(self, path: Path) -> Path:
        """As TOML: one key a line, tables for labels and regions.

        Whatever is at its default included.
        """
        values = asdict(self)
        tables = {name: value for name, value in values.items() if isinstance(value, dict)}
        lines = [f"{name} = {_toml(value)}" for name, value in values.items() if name not in tables]
        for name, table in tables.items():
            lines += [
                "",
                f"[{name}]",
                *(f"{_toml(key)} = {_toml(value)}" for key, value in table.items()),
            ]
        return files.write_text(path, "\n".join(lines) + "\n")

    @classmethod
    def read(cls, path: Path, **changes: Any) -> Run:
        """Inverse of `write`; `changes` replace what the file says. Unknown keys are refused."""
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
            raise BadFile(
                path, f"cannot be read ({error})", "give a run.toml written by 'oncoseg train'"
            ) from error
        known = {entry.name for entry in fields(cls)}
        for key in values.keys() - known:
            raise BadFile(
                path, f"has the unknown key '{key}'", f"known are {', '.join(sorted(known))}"
            )
        likes = asdict(cls("", ""))
        for key, value in values.items():
            if not _fits(value, likes[key]):
                kind = KINDS[type(likes[key])]
                raise BadFile(path, f"has {key} = {value!r}", f"{key} is {kind}: correct it")
            if isinstance(value, list):
                values[key] = tuple(value)
        values["regions"] = {
            name: tuple(members) for name, members in values.get("regions", {}).items()
        }
        try:
            return cls(**{**values, **changes})
        except TypeError as error:
            raise BadFile(
                path, f"is not a whole run ({error})", "it must name at least data and to"
            ) from error


def _fits(value: Any, like: Any) -> bool:
    """Whether a value from TOML is of the kind of a field's default."""
    if isinstance(like, float):
        return type(value) in (int, float)
    if isinstance(like, tuple):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if isinstance(like, dict):
        return isinstance(value, dict) and all(type(item) in (int, list) for item in value.values())
    return type(value) is type(like)


def _toml(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
