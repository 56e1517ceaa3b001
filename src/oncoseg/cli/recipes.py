"""Published pipelines in one command: `oncoseg recipe`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from oncoseg.cli.words import Words, add_command, answer
from oncoseg.errors import BadOption
from oncoseg.extras import require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def add(commands: Any) -> None:
    """Add `recipe`."""
    parser = add_command(
        commands,
        "recipe",
        "run the stages of a published pipeline, one after another",
        recipe,
        examples="  oncoseg recipe gynbtnet --data unlabelled=scans/ --data organs=organs/ "
        "--data task=data/ --to model.onco\n"
        "  oncoseg recipe gynbtnet --data unlabelled=a/ --data organs=b/ --data task=c/ "
        "--to model.onco --set steps=500 --set task.rate=3e-4 --resume",
    )
    parser.add_argument("recipe", help="name from 'oncoseg list recipes', or a file of one's own")
    parser.add_argument(
        "--data",
        type=pair,
        action="append",
        required=True,
        metavar="WORD=FOLDER",
        help="the folder of one of the recipe's data sets; once for each",
    )
    parser.add_argument("--to", required=True, metavar="MODEL", help="file to write (.onco)")
    parser.add_argument(
        "--set",
        dest="changes",
        type=pair,
        action="append",
        metavar="[WORD.]FIELD=VALUE",
        help="another value for a field of run.toml, in all stages or in those on one data set",
    )
    parser.add_argument("--resume", action="store_true", help="go on where it stopped")


def pair(text: str) -> tuple[str, str]:
    """`task=data/` -> ("task", "data/")."""
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise argparse.ArgumentTypeError(f"'{text}' is not name=value")
    return name.strip(), value.strip()


def once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """As a table; raises `BadOption` on a name that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadOption(f"a name is there twice in {', '.join(name for name, _ in pairs)}")
    return found


def value_of(text: str) -> Any:
    """A value as TOML writes it (10, 1e-4, true, ["a", "b"]), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def recipe(words: Words) -> int:
    """`oncoseg recipe`."""
    require("torch", "train")
    from oncoseg.recipe import follow, read_recipe

    changes = once(getattr(words, "changes", []))
    model = follow(
        read_recipe(words.recipe),
        once(words.data),
        words.to,
        {name: value_of(text) for name, text in changes.items()},
        resume=hasattr(words, "resume"),
    )
    answer(words, {"model": str(model)}, f"the model is {model}")
    return 0
