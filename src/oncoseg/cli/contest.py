"""Several algorithms against one truth: `oncoseg compare`, and scans to try them on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from oncoseg.cli.words import Words, add_command, answer, listed, options, part_list, region_members


def add(commands: Any) -> None:
    """Add `compare` and `damage`."""
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

    chosen = options(words, "protocol", "to", "metrics", "regions", "groups")
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
