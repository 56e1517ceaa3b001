"""Pointing at what is wanted: `oncoseg prompt` and `oncoseg clicks`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from oncoseg.cli.words import CASES, Words, add_command, answer, count, named, options
from oncoseg.errors import BadOption

KINDS = {"foreground": True, "background": False}


def add(commands: Any) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "prompt",
        "segment what clicks and boxes point at in one scan",
        prompt,
        examples="  oncoseg prompt model.onco scan.nii.gz --click 88,120,40 --to tumour.nii.gz\n"
        "  oncoseg prompt model.onco scan.nii.gz --click 88,120,40"
        " --click 60,90,40,background --to tumour.nii.gz\n"
        "  oncoseg prompt model.onco scan.nii.gz --box 60,90,30,110,140,52 --to tumour.nii.gz",
    )
    parser.add_argument("model", help="a model file (.onco) that was trained to follow prompts")
    parser.add_argument("scan", type=Path, help="one scan, or the folder of one case")
    parser.add_argument(
        "--click",
        dest="asked",
        action="append",
        type=click,
        metavar="X,Y,Z",
        help="a voxel of the target, as the file counts them; X,Y,Z,background for one outside",
    )
    parser.add_argument(
        "--box",
        dest="asked",
        action="append",
        type=box,
        metavar="X,Y,Z,X,Y,Z",
        help="the first and the last voxel of a box that the target fills",
    )
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="to write (.nii.gz)")
    parser.add_argument("--device", help="cpu, cuda, ...; the best there is if not given")
    _add_clicks(commands)


def _add_clicks(commands: Any) -> None:
    parser = add_command(
        commands,
        "clicks",
        "measure how many clicks a model needs: Dice a click, NoC@85 and NoC@90",
        clicks,
        examples="  oncoseg clicks model.onco data/ --cases model.run/held_out.json\n"
        "  oncoseg clicks model.onco data/ --clicks 10 --to scores/ --json",
    )
    parser.add_argument("model", help="a model file (.onco) that was trained to follow prompts")
    parser.add_argument("data", type=Path, help="data set with labels: what is clicked")
    parser.add_argument(
        "--clicks", dest="most", type=count, help="on each structure, and what failures count; 20"
    )
    parser.add_argument("--cases", **CASES)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="for the figures, as JSON")
    parser.add_argument("--device", help="cpu, cuda, ...; the best there is if not given")


def click(text: str) -> tuple[str, tuple[float, ...], bool]:
    """`88,120,40,background` -> ("click", (88, 120, 40), False)."""
    place, _, last = text.rpartition(",")
    if last.strip() not in KINDS:
        place, last = text, "foreground"
    numbers = _numbers(place, text)
    if len(numbers) not in (2, 3):
        raise argparse.ArgumentTypeError(f"'{text}' is not X,Y,Z (or X,Y for a picture)")
    return "click", numbers, KINDS[last.strip()]


def box(text: str) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """`1,2,3,7,8,9` -> ("box", (1, 2, 3), (7, 8, 9))."""
    numbers = _numbers(text, text)
    if len(numbers) not in (4, 6):
        raise argparse.ArgumentTypeError(f"'{text}' is not X,Y,Z,X,Y,Z (or X,Y,X,Y for a picture)")
    half = len(numbers) // 2
    return "box", numbers[:half], numbers[half:]


def _numbers(text: str, whole: str) -> tuple[float, ...]:
    try:
        return tuple(float(piece) for piece in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{whole}' holds what is no number") from error


def prompt(words: Words) -> int:
    """`oncoseg prompt`."""
    from oncoseg.prompt import prompt as run

    asked = options(words, "asked").get("asked", [])
    if not asked:
        raise BadOption("say what to segment: --click X,Y,Z or --box X,Y,Z,X,Y,Z")
    session = run(words.model, words.scan, **options(words, "device"))
    for kind, first, second in asked:
        if kind == "click":
            session.click(*first, foreground=second)
        else:
            session.box(first, second)
    written = session.save(words.to)
    voxels, notes = int(session.mask.sum()), list(session.prediction.notes)
    data = {"written": str(written), "voxels": voxels, "notes": notes}
    answer(words, data, "\n".join([f"{voxels} voxels, written to {written}", *notes]))
    return 0


def clicks(words: Words) -> int:
    """`oncoseg clicks`; 1 if something could not be read or clicked, after the others."""
    from oncoseg.clicks import clicks as run

    chosen = options(words, "most", "to", "device") | named(words)
    found = run(words.model, words.data, **chosen)
    answer(words, found.as_dict(), found.table())
    return 1 if found.failed else 0
