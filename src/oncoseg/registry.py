"""Every part by the name of its file: found, listed, checked by parsing; imported when built.

A part is one file in the folder of its slot, holding a literal `CARD = Card(...)` and a class named
as the file's words joined (`dice_ce.py` -> `DiceCe`), whose keyword-only, typed constructor is its
configuration.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from oncoseg.errors import BadData, BadOption, unknown

HERE = Path(__file__).parent
SLOTS = {
    "networks": "network",
    "methods": "method",
    "augmentations": "augmentation",
    "losses": "loss",
    "posthoc": "posthoc step",
    "strategies": "strategy",
    "queries": "query",
    "metrics": "metric",
    "findings": "finding",
    "datasets": "dataset",
}


@dataclass(frozen=True)
class Card:
    """Where an idea comes from: title and year of the paper or standard, and where to read it.

    `reading` is a sentence that starts with what could not be verified and so is our reading of it.
    """

    title: str
    year: int
    arxiv: str = ""
    doi: str = ""
    url: str = ""
    reading: str = ""


@dataclass(frozen=True)
class Option:
    """One keyword-only option of a part, read from its source."""

    name: str
    type: str
    default: Any
    required: bool = False

    def parse(self, text: str) -> Any:
        """Text from the command line -> value; raises `ValueError` if it is of another type."""
        if self.type.startswith("tuple"):
            return tuple(
                _scalar(piece, self.type) for piece in text.strip("()").split("x") if piece
            )
        return _scalar(text, self.type)


@dataclass(frozen=True)
class Entry:
    """What is known of a part without importing it.

    `needs`, `gives` and `only` are read from literals of its class: what a method needs of data and
    network, what a network gives beyond logits, and what alone it is good for, if not logits.
    """

    slot: str
    name: str
    summary: str
    card: Card
    options: tuple[Option, ...]
    path: Path
    needs: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Where it is imported from."""
        return f"oncoseg.{self.slot}.{self.name}"

    @property
    def type_name(self) -> str:
        """Its class."""
        return class_name(self.name)


def class_name(name: str) -> str:
    """`dice_ce` -> `DiceCe`."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def names(slot: str) -> list[str]:
    """Names of every part in a slot, sorted; no file is opened."""
    if slot not in SLOTS:
        raise unknown("slot", slot, SLOTS)
    return sorted(path.stem for path in (HERE / slot).glob("*.py") if not path.stem.startswith("_"))


@cache
def entry(slot: str, name: str) -> Entry:
    """The card and options of one part, from its source.

    Raises `UnknownName` with the nearest names.
    """
    if name not in names(slot):
        raise unknown(SLOTS[slot], name, names(slot))
    path = HERE / slot / f"{name}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    summary = (ast.get_docstring(tree) or "").split("\n")[0]
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    kind = classes.get(class_name(name))
    if kind is None:
        raise BadData(f"{path}: holds no class {class_name(name)}; name it so, after its file")
    words = (_words(kind, word) for word in ("needs", "gives", "only"))
    return Entry(slot, name, summary, _card(tree), _options(kind), path, *words)


def entries(slot: str) -> list[Entry]:
    """Every part of a slot."""
    return [entry(slot, name) for name in names(slot)]


def parse(slot: str, text: str) -> tuple[str, dict[str, Any]]:
    """`name:option=value,option=value` -> name and values.

    They are checked against the constructor without importing it. A value that itself names a part
    with options stands in brackets: `sam_decoder:encoder=(unet:width=16,blocks=1),width=64`.
    """
    name, _, rest = text.partition(":")
    found = entry(slot, name.strip())
    known = {option.name: option for option in found.options}
    values: dict[str, Any] = {}
    for piece in filter(None, (piece.strip() for piece in _pieces(rest))):
        key, equals, value = (part.strip() for part in piece.partition("="))
        if key not in known:
            has = ", ".join(known) or "no options"
            raise BadOption(f"{found.type_name} has no option '{key}'; it has {has}")
        try:
            if not equals:
                raise ValueError("it has no '=value'")
            values[key] = known[key].parse(value)
        except ValueError as error:
            raise BadOption(
                f"option '{key}' of {found.type_name} takes {known[key].type}, not '{value}'"
            ) from error
    return found.name, values


def load(slot: str, name: str) -> type:
    """Import a part's class."""
    found = entry(slot, name)
    kind: type = getattr(importlib.import_module(found.module), found.type_name)
    return kind


def build(slot: str, text: str, *arguments: Any, **options: Any) -> Any:
    """Import a part and construct it; options in `text` win over keyword `options`.

    Keyword options unknown to the part raise `BadOption`, as misspelt ones in `text` do.
    """
    name, values = parse(slot, text)
    kind = load(slot, name)
    known = options_of(kind)
    for key in options.keys() - known.keys():
        has = ", ".join(sorted(known)) or "no options"
        raise BadOption(f"{kind.__name__} has no option '{key}'; it has {has}")
    return kind(*arguments, **{**options, **values})


def chosen(slot: str, text: str) -> dict[str, Any]:
    """Every option of a spelt part, at its default where `text` does not say."""
    name, values = parse(slot, text)
    return {option.name: option.default for option in entry(slot, name).options} | values


def spell(name: str, options: Mapping[str, Any]) -> str:
    """Inverse of `parse`: one name and its options as `name:option=value,...`."""
    pieces = [f"{key}={_spelt(value)}" for key, value in options.items()]
    return f"{name}:{','.join(pieces)}" if pieces else name


def options_of(kind: type) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of an imported class, to hold the parsed options against."""
    parameters = inspect.signature(kind).parameters.values()
    return {
        parameter.name: parameter
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def _spelt(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    text = str(value)
    return f"({text})" if any(mark in text for mark in ",:=") else text


def _pieces(text: str) -> list[str]:
    """Split at the commas that stand in no brackets; raises `BadOption` if those do not pair."""
    depth, pieces = 0, [""]
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += letter
    if depth:
        raise BadOption(f"the brackets in '{text}' do not pair")
    return pieces


def _words(kind: ast.ClassDef, name: str) -> tuple[str, ...]:
    """A literal tuple of words that a class states in its body, () if it does not."""
    for node in kind.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if name in {getattr(target, "id", "") for target in targets}:
            return tuple(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return ()


def _card(tree: ast.Module) -> Card:
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and getattr(node.targets[0], "id", "") == "CARD"
            and isinstance(node.value, ast.Call)
        ):
            positional = [ast.literal_eval(argument) for argument in node.value.args]
            return Card(
                *positional,
                **{word.arg or "": ast.literal_eval(word.value) for word in node.value.keywords},
            )
    return Card("", 0)


def _options(kind: ast.ClassDef) -> tuple[Option, ...]:
    for node in kind.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults)
            return tuple(
                Option(
                    word.arg,
                    ast.unparse(word.annotation) if word.annotation else "str",
                    ast.literal_eval(default) if default is not None else "",
                    required=default is None,
                )
                for word, default in pairs
            )
    return ()


def _scalar(text: str, kind: str) -> Any:
    if "bool" in kind:
        if text.lower() not in {"true", "false", "yes", "no", "1", "0"}:
            raise ValueError(text)
        return text.lower() in {"true", "yes", "1"}
    if "float" in kind:
        return float(text)
    if "int" in kind:
        return int(text)
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text
