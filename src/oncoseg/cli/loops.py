"""Loops around the path: `oncoseg annotate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from oncoseg.cli.learn import FOLDS, LEARNING, add_learning
from oncoseg.cli.words import Words, add_command, answer, count, listed, options, positive
from oncoseg.extras import require

ASKING = ("query", "rounds", "count", "size", "models")
RUN = ("minutes", "steps", "folds", "fold", "hold", *LEARNING)


def add(commands: Any) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "annotate",
        "play active learning on labelled scans: a model asks for the boxes it learns from",
        annotate,
        examples="  oncoseg annotate data/ --to loop/ --query clasp_pe --rounds 5 --count 20 "
        "--size 16x16x16 --steps 200\n"
        "  oncoseg annotate data/ --to loop/ --query foreground_random --models 3 --resume",
    )
    parser.add_argument("data", help="data set, every case labelled, or prepared")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="to write")
    parser.add_argument("--query", help="name:option=value,...; see 'oncoseg list queries'")
    parser.add_argument("--rounds", type=count, help="trainings; 5")
    parser.add_argument("--count", type=count, help="boxes a round; 20")
    parser.add_argument("--size", type=sides, help="16x16x16: voxels of a box; half a patch")
    parser.add_argument("--models", type=count, help="networks that are trained a round; 1")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=positive, help="of each training")
    length.add_argument("--steps", type=count, help="of each training")
    parser.add_argument("--folds", type=count, help="parts to split the patients into; 5")
    parser.add_argument("--fold", type=count, help="the part to measure on, counted from 0; 0")
    parser.add_argument("--hold", type=listed, help="P1,P2,...: patients to measure on instead")
    parser.add_argument("--resume", action="store_true", help="go on where this loop stopped")
    add_learning(parser)


def sides(text: str) -> tuple[int, ...]:
    """`16x16x8` -> (16, 16, 8)."""
    return tuple(_side(piece) for piece in text.split("x"))


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("sides are whole numbers above 0, such as 16x16x16")
    return int(text)


def annotate(words: Words) -> int:
    """`oncoseg annotate`."""
    require("torch", "train")
    from oncoseg.annotate import Asking
    from oncoseg.annotate import annotate as play
    from oncoseg.run import Run

    given = options(words, *RUN)
    given = {"folds": FOLDS, **given}
    if "steps" in given:
        given["minutes"] = 0.0
    run = Run(data=words.data, to=str(words.to / "model.onco"), **given)
    resume = hasattr(words, "resume")
    summary = play(run, Asking(**options(words, *ASKING)), resume=resume)
    rows = [
        f"round {row['round']}: {row['annotated']} voxels ({row['foreground']} of foreground), "
        f"mean Dice {row['mean']:.3f}"
        for row in summary["rounds"]
    ]
    answer(words, summary, "\n".join([*rows, f"AUBC of {summary['query']}: {summary['aubc']:.3f}"]))
    return 0
