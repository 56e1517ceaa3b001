"""How words of the command line are read, and how answers are printed."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from oncoseg import files
from oncoseg.errors import BadOption, printable

Words = argparse.Namespace


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence, in the tone of every other error."""

    def error(self, message: str) -> NoReturn:
        """Raise `BadOption`, which the command line prints and turns into exit code 2."""
        raise BadOption(f"{message}; '{self.prog} --help' shows what it takes")


def add_command(
    commands: Any, name: str, summary: str, act: Callable[[Words], int], *, examples: str
) -> Parser:
    """One sub-command with its summary, examples, and the options that all of them share."""
    parser: Parser = commands.add_parser(
        name,
        help=summary,
        description=summary[:1].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(act=act)
    parser.add_argument(
        "--json", action="store_true", help="print the answer as JSON, for machines"
    )
    parser.add_argument(
        "--debug", action="store_true", help="on an error, show where in the program it happened"
    )
    return parser


def listed(text: str) -> tuple[str, ...]:
    """`T1,T2` -> ("T1", "T2")."""
    names = tuple(piece.strip() for piece in text.split(",") if piece.strip())
    if not names:
        raise argparse.ArgumentTypeError("at least one name is needed")
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"a name is there twice in '{text}'")
    return names


def part_list(text: str) -> tuple[str, ...]:
    """`dice,nsd:tolerance_mm=2,hd95` -> its parts; `option=value` goes with the piece before."""
    found: list[str] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        if "=" in piece and ":" not in piece.partition("=")[0] and found:
            found[-1] += f",{piece}"
        else:
            found.append(piece)
    return tuple(found)


def label_values(text: str) -> dict[str, int]:
    """`edema=1,core=2` -> {"edema": 1, "core": 2}."""
    values: dict[str, int] = {}
    for name, value in _pairs(text, "name=number").items():
        if not value.isdecimal() or int(value) == 0:
            cause = f"'{name}={value}' does not give a label a whole number above 0"
            raise argparse.ArgumentTypeError(cause)
        values[name] = int(value)
    if len(set(values.values())) < len(values):
        raise argparse.ArgumentTypeError(f"two labels have the same number in '{text}'")
    return values


def region_members(text: str) -> dict[str, tuple[str, ...]]:
    """`WT=NCR+ED+ET,TC=NCR+ET` -> {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET")}."""
    return {
        name: tuple(member.strip() for member in members.split("+") if member.strip())
        for name, members in _pairs(text, "region=label+label").items()
    }


def region_values(pieces: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`wt=1,2,4`, `et=4` -> {"wt": (1, 2, 4), "et": (4,)}; raises `BadOption`."""
    found: dict[str, tuple[int, ...]] = {}
    for piece in pieces:
        name, _, values = (part.strip() for part in piece.partition("="))
        numbers = [value.strip() for value in values.split(",")]
        if not name or not all(value.isdecimal() and int(value) for value in numbers):
            raise BadOption(
                f"--regions: '{piece}' is not a name and label values above 0, as wt=1,2,4"
            )
        if name in found:
            raise BadOption(f"--regions: '{name}' is there twice")
        found[name] = tuple(map(int, numbers))
    return found


def pairs(text: str) -> dict[str, str]:
    """`clinical=stable,steroids=less` -> {"clinical": "stable", "steroids": "less"}."""
    return _pairs(text, "word=value")


def _pairs(text: str, shape: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for piece in listed(text):
        name, equals, value = (part.strip() for part in piece.partition("="))
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"'{piece}' is not {shape}")
        if name in pairs:
            raise argparse.ArgumentTypeError(f"'{name}' is there twice in '{text}'")
        pairs[name] = value
    return pairs


def fraction(text: str) -> float:
    """A number from 0 up to, but not including, 1."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 up to (not including) 1")
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def not_negative(text: str) -> float:
    """A finite number, 0 or more."""
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number, 0 or more")
    return value


def count(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number, 0 or more")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from error


def options(words: Words, *names: str) -> dict[str, Any]:
    """Those of the named options that were given, so that each verb keeps its own defaults."""
    return {name: getattr(words, name) for name in names if hasattr(words, name)}


CLUSTER: Mapping[str, Any] = {"nargs": "?", "const": "auto", "metavar": "ADDRESS"}
CASES: Mapping[str, Any] = {
    "metavar": "NAMES",
    "help": "A,B,... or a .json that lists them, as held_out.json: those cases alone",
}


def named(words: Words) -> dict[str, tuple[str, ...]]:
    """The cases of `--cases`, if it was given: names, or those that a .json file lists."""
    if not hasattr(words, "cases"):
        return {}
    if not words.cases.endswith(".json"):
        return {"cases": listed(words.cases)}
    names = files.read_json(words.cases)
    if not names or not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise BadOption(f"{words.cases}: lists no cases; give names, or a list of them as JSON")
    return {"cases": tuple(names)}


def answer(words: Words, data: Mapping[str, Any], text: str) -> None:
    """Print an answer: as JSON with `--json`, else as text."""
    if hasattr(words, "json"):
        text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
        # The standard escapes control characters below 32 alone, and leaves others to a terminal.
        print(re.sub("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", _unicode, text))
    else:
        print("\n".join(printable(line) for line in text.split("\n")))


def _unicode(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def complain(message: str) -> None:
    """Print one sentence to the error stream."""
    print(f"oncoseg: {printable(message)}", file=sys.stderr)


def paths(found: list[Path]) -> list[str]:
    """Paths as plain text."""
    return [str(path) for path in found]
