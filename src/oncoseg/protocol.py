"""Protocols: how a challenge measures and ranks, as a file of names and numbers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from oncoseg import registry
from oncoseg.errors import BadFile, unknown
from oncoseg.registry import Card, Entry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = registry.HERE / "protocols"
REMEDY = "correct the protocol"
CHOICES = {
    "setting": ("plain", "raters", "conditions", "benchmark"),
    "scheme": ("rank-then-aggregate", "aggregate-then-rank", "significance"),
    "aggregation": ("cases", "groups", "regions"),
    "test": ("wilcoxon", "permutation"),
    "missing": ("worst", "refuse"),
}


@dataclass(frozen=True)
class Protocol:
    """What is measured in which regions, and how algorithms are ranked by it.

    `regions` are label values; empty: those of the records, else each value. `ranked` are the pairs
    of region and metric that count, all if empty. `aggregation` says what is averaged before
    anything else: nothing ("cases"), cases of a group ("groups") or regions ("regions").
    `burden` names a region and the whole that it is a share of, told over all cases at once.
    `setting` says what the folders are: predictions and a truth ("plain"), truths of several
    "raters", predictions under several "conditions", or models to weigh against the first of them
    and against what they cost ("benchmark"). A case that `missing` says to refuse stops the
    comparison; "worst" is the worst value there is.
    """

    name: str
    summary: str
    card: Card
    metrics: tuple[str, ...]
    regions: Mapping[str, tuple[int, ...]]
    ranked: tuple[tuple[str, str], ...] = ()
    burden: tuple[str, ...] = ()
    setting: str = "plain"
    scheme: str = "rank-then-aggregate"
    aggregation: str = "cases"
    test: str = "wilcoxon"
    missing: str = "worst"

    @property
    def entry(self) -> Entry:
        """As the catalogue lists parts."""
        return Entry(
            "protocols", self.name, self.summary, self.card, (), HERE / f"{self.name}.toml"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **plain,
            "burden": list(self.burden),
            "card": {key: value for key, value in vars(self.card).items() if value},
            "metrics": list(self.metrics),
            "ranked": [list(pair) for pair in self.ranked],
            "regions": {name: list(values) for name, values in self.regions.items()},
        }


def names() -> list[str]:
    """Names of the protocols that come with the package."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def read_protocol(name: str) -> Protocol:
    """A protocol by its name, or from a file of one's own (`.toml`).

    Raises `UnknownName` with the nearest names, and `BadFile` for what a protocol cannot say.
    """
    own = name.endswith(".toml")
    path = Path(name) if own else HERE / f"{name}.toml"
    if not own and name not in names():
        raise unknown("protocol", name, names())
    try:
        text = path.read_text(encoding="utf-8")
        said = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise BadFile(path, f"cannot be read ({error})", "give a protocol in TOML") from error
    first = text.splitlines()[0] if text else ""
    summary = first.lstrip("# ") if first.startswith("#") else ""
    try:
        return _protocol(path, summary, said)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        cause = f"is no whole protocol ({type(error).__name__}: {error})"
        raise BadFile(path, cause, REMEDY) from error


def _protocol(path: Path, summary: str, said: Mapping[str, Any]) -> Protocol:
    known = {field.name for field in fields(Protocol)} - {"name", "summary"}
    for key in said.keys() - known:
        raise BadFile(path, f"has the unknown key '{key}'", REMEDY)
    for key, allowed in CHOICES.items():
        if key in said and said[key] not in allowed:
            raise BadFile(path, f"has the {key} {said[key]!r}, not {' or '.join(allowed)}", REMEDY)
    if not said["metrics"] or not all(isinstance(one, str) for one in said["metrics"]):
        raise BadFile(path, "names no metrics", REMEDY)
    values = {
        **said,
        "card": Card(**said["card"]),
        "metrics": tuple(said["metrics"]),
        "regions": _regions(said.get("regions", {})),
        "ranked": tuple((str(region), str(metric)) for region, metric in said.get("ranked", ())),
        "burden": tuple(said.get("burden", ())),
    }
    found = Protocol(name=path.stem, summary=summary, **values)
    for region, metric in found.ranked:
        if metric not in found.metrics or (found.regions and region not in found.regions):
            raise BadFile(
                path, f"ranks '{region}' by '{metric}', which it does not measure", REMEDY
            )
    if found.burden and (len(found.burden) != 2 or not set(found.burden) <= found.regions.keys()):
        raise BadFile(path, f"has the burden {list(found.burden)}, not two of its regions", REMEDY)
    return found


def _regions(said: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    return {str(name): tuple(int(value) for value in one) for name, one in said.items()}
