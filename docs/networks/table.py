"""Write the table of docs/networks/README.md from the comparisons beside it.

    python docs/networks/table.py
    python docs/networks/table.py CONTEST polyps

The second takes over a folder that `oncoseg benchmark --no-pictures` wrote: its page, and its
`comparison.json` without the tests of every pair, which are most of it and stand in the page.
`polyps.jsonl` holds what `benchmarks/overfit.py` found: Dice of four cases learned by heart.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from oncoseg import files, registry
from oncoseg.compare.told import priced

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
START, END = "<!-- made by table.py -->\n", "<!-- end -->\n"
LEARNED = "How they learned"
BARE = "runs in torch alone"  # of a network that cannot be exported


def take(contest: Path, name: str) -> None:
    """Page and records of a contest, without the pairs."""
    shutil.copy(contest / "comparison.html", HERE / f"{name}.html")
    said = files.read_json(contest / "comparison.json")
    del said["pairs"]
    files.write_json(HERE / f"{name}.json", said)


def contests() -> dict[str, dict[str, Any]]:
    """Data set -> its comparison."""
    return {path.stem: files.read_json(path) for path in sorted(HERE.glob("*.json"))}


def by_heart(name: str) -> dict[str, str]:
    """Network -> Dice of four cases of a data set, learned by heart; empty if not tried."""
    path = HERE / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {row["network"]: f"{row['mean']:.2f}" for row in map(json.loads, lines)}


def learned(contest: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Network -> steps, seconds a step, MB in training, Dice, share of the U-Net's, notes."""
    (table,) = (one for one in contest["tables"] if one["heading"] == LEARNED)
    return {row[0]: tuple(row[1:]) for row in table["rows"]}


def table() -> str:
    """A row a network, columns for each data set."""
    found = {name: (contest, learned(contest)) for name, contest in contests().items()}
    hearts = {name: by_heart(name) for name in found}
    each = ("Dice (of U-Net)", "s a step", "s a case")
    head = ["network", "lines", "parameters", "graph"]
    for name, known in hearts.items():
        head += [f"{name}: {what}" for what in (*each, *(["by heart"] if known else []))]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    networks = {entry.name: entry for entry in registry.entries("networks")}
    for name, entry in networks.items():
        if any(name in rows for _, rows in found.values()):
            size = entry.path.read_text(encoding="utf-8").count("\n")
            cells = [f"`{name}`", str(size), *built(name, found.values())]
            for data, (contest, rows) in found.items():
                cells += cells_of(name, contest, rows)
                cells += [hearts[data].get(name, "-")] if hearts[data] else []
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def built(name: str, found: Any) -> list[str]:
    """Parameters as it was tried, and whether it was exported."""
    tried = [(contest["costs"][name], rows) for contest, rows in found if name in contest["costs"]]
    if not tried:
        return ["-", "-"]
    sizes = dict.fromkeys(priced(costs["parameters"], "parameters") for costs, _ in tried)
    whole = {BARE not in rows[name][-1] for _, rows in tried}
    return [" / ".join(sizes), {(True,): "yes", (False,): "no"}.get(tuple(whole), "of pictures")]


def cells_of(name: str, contest: dict[str, Any], rows: dict[str, tuple[str, ...]]) -> list[str]:
    """What one data set told of a network."""
    if name not in rows:
        return ["-"] * 3
    _, pace, _, dice, share, notes = rows[name]
    if name not in contest["costs"]:
        return [notes, "-", "-"]
    taken = priced(contest["costs"][name]["seconds"], "seconds")[:-2]
    return [f"{dice} ({share})", pace, taken]


def written(page: str) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}{table()}{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:]:
        take(Path(sys.argv[1]), sys.argv[2])
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
