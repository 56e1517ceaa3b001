"""Make docs/systems.md from the cards, by running this file."""

from __future__ import annotations

import ast
from pathlib import Path

from oncoseg import files, registry
from oncoseg.cli.catalogue import source

REPO = Path(__file__).parents[1]
PAGE = REPO / "docs" / "systems.md"


def page() -> str:
    """A table a slot: idea, paper, options, what it needs and gives, and what its test proves."""
    lines = ["# Systems", "", "Made from the cards by `make docs`; do not edit by hand."]
    for slot in registry.SLOTS:
        found = registry.entries(slot)
        if found:
            lines += ["", f"## {slot}", ""]
            lines += ["| name | idea | source | options | its test |", "|---|---|---|---|---|"]
            lines += [f"| {' | '.join(row(entry))} |" for entry in found]
    return "\n".join(lines) + "\n"


def row(entry: registry.Entry) -> list[str]:
    """The cells of one part."""
    options = [
        f"`{option.name}`" + ("" if option.required else f"={option.default}")
        for option in entry.options
    ]
    words = [f"needs {', '.join(entry.needs)}"] if entry.needs else []
    words += [f"gives {', '.join(entry.gives)}"] if entry.gives else []
    idea = " ".join([entry.summary, *(f"({each})" for each in words)])
    reading = f" *{entry.card.reading}*" if entry.card.reading else ""
    cells = [f"`{entry.name}`", idea, source(entry.card, link=True) + reading]
    return [cell.replace("|", "\\|") for cell in [*cells, ", ".join(options), proof(entry)]]


def proof(entry: registry.Entry) -> str:
    """What its test proves: the names of the test's functions are sentences."""
    path = REPO / "tests" / "parts" / entry.slot / f"test_{entry.name}.py"
    tree = ast.parse(path.read_text(encoding="utf-8") if path.exists() else "")
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return "; ".join(
        name.removeprefix("test_").replace("_", " ") for name in names if name.startswith("test_")
    )


if __name__ == "__main__":
    files.write_text(PAGE, page())
