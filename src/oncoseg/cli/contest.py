"""Several algorithms against one truth: `oncoseg compare` and `benchmark`, and scans to try."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from oncoseg.cli.learn import FOLDS, add_task, choices
from oncoseg.cli.words import (
    CASES,
    Words,
    add_command,
    answer,
    count,
    listed,
    named,
    options,
    part_list,
    positive,
    region_members,
)
from oncoseg.extras import require

PICTURES: dict[str, Any] = {
    "dest": "pictures",
    "action": "store_false",
    "help": "no part of a scan on the page, for where scans may not go",
}


def add(commands: Any) -> None:
    """Add `compare`, `benchmark` and `damage`."""
    parser = add_command(
        commands,
        "compare",
        "compare the predictions of several algorithms with one truth: who is better, how surely",
        compare,
        examples="  oncoseg compare a/ b/ c/ --reference truth/ --to contest/\n"
        "  oncoseg compare a/ b/ --reference truth/ --protocol msd --json\n"
        "  oncoseg compare a/ b/ --reference truth/ --protocol fets --groups sites.csv --to fets/\n"
        "  oncoseg compare a/ b/ --reference raters/ --protocol curvas --to raters-agree/",
    )
    parser.add_argument(
        "predictions", type=Path, nargs="+", metavar="FOLDER", help="of one algorithm, by its name"
    )
    parser.add_argument(
        "--reference", type=Path, required=True, metavar="TRUTH", help="as 'oncoseg evaluate' takes"
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="msd, brats, lits, kits21, fets, curvas, ubench, mmss_robustness, plain (if none is "
        "given), or a .toml of one's own",
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="for the page, JSON and CSV")
    parser.add_argument("--metrics", type=part_list, help="instead of those of the protocol")
    parser.add_argument(
        "--regions",
        type=regions,
        metavar="NAME=1+2,...",
        help="label values of each region, instead of those of the protocol or the records",
    )
    parser.add_argument(
        "--groups", type=Path, metavar="CSV", help="column 'case', then site, scanner, ... of each"
    )
    parser.add_argument("--cases", **CASES)
    parser.add_argument("--no-pictures", **PICTURES)
    _add_benchmark(commands)
    parser = add_command(
        commands,
        "damage",
        "copy scans with modalities missing, with parts of them lost and with noise",
        damage,
        examples="  oncoseg damage scans/ --to damaged/\n"
        "  oncoseg predict glioma damaged/missing-t1/ --to a/missing-t1/\n"
        "  oncoseg compare a/ b/ --reference scans/ --protocol mmss_robustness --to robust/",
    )
    parser.add_argument("scans", type=Path, metavar="SCANS", help="with a file a modality")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER", help="for a folder a condition"
    )
    parser.add_argument(
        "--rates",
        type=rates,
        metavar="25,50",
        help="percent of the voxels that modalities lose (default 25)",
    )


def _add_benchmark(commands: Any) -> None:
    parser = add_command(
        commands,
        "benchmark",
        "train networks equally long on the same cases, and compare them with what they cost",
        benchmark,
        examples="  oncoseg benchmark data/ --to contest/ --minutes 6\n"
        "  oncoseg benchmark data/ --to contest/ --networks unet,umamba:width=16 --minutes 30\n"
        "  oncoseg benchmark data/ --to contest/ --minutes 6 --limit 8GB --cluster",
    )
    parser.add_argument("data", help="data set with labels")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="to write")
    parser.add_argument(
        "--networks",
        type=part_list,
        help="name:option=value with commas between; all that the method can train if not given",
    )
    for slot in ("method", "loss"):
        parser.add_argument(f"--{slot}", help=f"name:option=value,...; see 'oncoseg list {slot}'")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=positive, help="each is trained for")
    length.add_argument("--steps", type=count, help="each is trained for")
    parser.add_argument("--folds", type=count, help="parts to split the patients into; 5")
    parser.add_argument("--fold", type=count, help="the part to hold out, from 0; 0")
    parser.add_argument("--hold", type=listed, help="P1,P2,...: patients to hold out instead")
    parser.add_argument("--seed", type=count, help="the same for all; 0")
    parser.add_argument("--device", help="cpu, cuda, ...; the best there is if not given")
    parser.add_argument("--protocol", metavar="NAME", help="to compare by; ubench")
    parser.add_argument("--limit", metavar="SIZE", help="memory that a network may take, as 8GB")
    parser.add_argument(
        "--cluster",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="try them at once on a Ray cluster; if not named, the one found here",
    )
    parser.add_argument("--no-pictures", **PICTURES)
    add_task(parser)


def benchmark(words: Words) -> int:
    """`oncoseg benchmark`."""
    require("torch", "train")
    from oncoseg.benchmark import benchmark as run
    from oncoseg.run import Run

    given = choices(words)
    if "hold" not in given:
        given = {"folds": FOLDS, "fold": 0, **given}
        given["fold"] = max(0, given["fold"])
    del given["to"]
    chosen = options(words, "networks", "protocol", "limit", "cluster", "pictures")
    comparison = run(Run(to="", **given), words.to, **chosen)
    text = f"{comparison.text()}\nThe page is {words.to / 'comparison.html'}"
    answer(words, comparison.as_dict(), text)
    return 0


def rates(text: str) -> tuple[float, ...]:
    """`25,50` -> (25, 50)."""
    return tuple(map(float, listed(text)))


def regions(text: str) -> dict[str, tuple[int, ...]]:
    """`WT=1+2+4,TC=1+4` -> {"WT": (1, 2, 4), "TC": (1, 4)}."""
    found = {}
    for name, members in region_members(text).items():
        if not members or not all(member.isdecimal() and int(member) for member in members):
            cause = f"'{name}' needs label values, whole numbers above 0, with + between"
            raise argparse.ArgumentTypeError(cause)
        found[name] = tuple(int(member) for member in members)
    return found


def compare(words: Words) -> int:
    """`oncoseg compare`."""
    from oncoseg.compare import compare as run

    asked = ("protocol", "to", "metrics", "regions", "groups", "pictures")
    chosen = options(words, *asked) | named(words)
    comparison = run(words.predictions, words.reference, **chosen)
    text = comparison.text()
    if hasattr(words, "to"):
        text += f"\nThe page is {words.to / 'comparison.html'}"
    answer(words, comparison.as_dict(), text)
    return 0


def damage(words: Words) -> int:
    """`oncoseg damage`."""
    from oncoseg.compare.damage import damage as run

    folders = run(words.scans, to=words.to, **options(words, "rates"))
    names = [folder.name for folder in folders]
    text = f"{len(names)} conditions, a folder each in {words.to}"
    answer(words, {"conditions": names}, text)
    return 0
