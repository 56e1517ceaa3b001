"""Thresholds and calibration of a model that is trained: `oncoseg froc` and `oncoseg fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oncoseg.cli.learn import FOLDS
from oncoseg.cli.words import (
    CASES,
    Words,
    add_command,
    answer,
    count,
    named,
    not_negative,
    options,
    positive,
    region_values,
)


def add(commands: Any) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "froc",
        "lesions found against lesions invented over all thresholds, and the threshold that fits",
        froc,
        examples="  oncoseg froc out/ truth/ --to froc/\n"
        "  oncoseg froc out/ truth/ --region tumour --false-positives 1\n"
        "  oncoseg froc out/ truth/ --sensitivity 0.9 --floor 0.2",
    )
    parser.add_argument("predictions", type=Path, help="'oncoseg predict --probabilities' wrote it")
    parser.add_argument("truth", type=Path, help="data set with labels, or a folder of label maps")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--false-positives", type=not_negative, metavar="N", help="a case, at most")
    asked.add_argument("--sensitivity", type=positive, help="of lesions, at least; up to 1")
    parser.add_argument(
        "--floor", type=positive, help="probability that all voxels of a candidate have; 0.5"
    )
    parser.add_argument(
        "--iou", type=not_negative, help="by which a candidate overlaps what it finds; 0.1, 0: any"
    )
    parser.add_argument("--region", help="one region alone")
    parser.add_argument(
        "--regions",
        nargs="+",
        metavar="NAME=VALUES",
        help="label values of each region, as wt=1,2,4 tc=1,4; those of the predictions' records",
    )
    parser.add_argument("--cases", **CASES)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="for the page and JSON")
    _add_fit(commands)


def _add_fit(commands: Any) -> None:
    parser = add_command(
        commands,
        "fit",
        "teach a trained model's post-hoc steps on labelled cases it never saw",
        fit,
        examples="  oncoseg fit model.onco data/ --posthoc temperature --to calibrated.onco\n"
        "  oncoseg fit model.onco data/ --posthoc operating_point:false_positives=1 --to new.onco\n"
        "  oncoseg fit model.onco --posthoc operating_point:threshold=0.8 --to new.onco",
    )
    parser.add_argument("model", help="a model file (.onco), or the name of one in 'oncoseg list'")
    parser.add_argument("data", nargs="?", default="", help="data set with labels")
    parser.add_argument(
        "--posthoc",
        action="append",
        required=True,
        help="name:option=value,...; see 'oncoseg list posthoc'; several are taught in that order",
    )
    parser.add_argument("--to", type=Path, required=True, metavar="MODEL", help="to write (.onco)")
    parser.add_argument("--cases", **CASES)
    parser.add_argument(
        "--folds", type=count, help="parts of the patients, one is held out; 5 if --fold"
    )
    parser.add_argument("--fold", type=count, help="the part that is held out, counted from 0; 0")
    parser.add_argument("--engine", choices=("openvino", "torch"), help="what computes; openvino")
    parser.add_argument("--device", help="cpu, cuda, ...; chosen by the engine if not given")


def froc(words: Words) -> int:
    """`oncoseg froc`; 1 if a case was missing or failed, after the others are finished."""
    from oncoseg.froc import froc as run

    names = ("false_positives", "sensitivity", "floor", "iou", "region", "to")
    chosen = options(words, *names) | named(words)
    if hasattr(words, "regions"):
        chosen["regions"] = region_values(words.regions)
    curves = run(words.predictions, words.truth, **chosen)
    text = curves.table()
    if hasattr(words, "to"):
        text += f"\nThe page is {words.to / 'froc.html'}"
    answer(words, curves.as_dict(), text)
    return 1 if curves.failed else 0


def fit(words: Words) -> int:
    """`oncoseg fit`."""
    from oncoseg.fit import fit as run

    chosen = options(words, "folds", "fold", "engine", "device") | named(words)
    if "fold" in chosen:
        chosen.setdefault("folds", FOLDS)
    if words.data:
        chosen["data"] = Path(words.data)
    found = run(words.model, words.posthoc, to=words.to, **chosen)
    data = {
        "model": str(found.model),
        "learned": dict(found.learned),
        "cases": list(found.cases),
        "held_out": list(found.held),
        "left_out": list(found.left_out),
    }
    lines = [f"{text}: {json.dumps(state)}" for text, state in found.learned.items()]
    lines += [f"{text} was left out: it learned from other predictions" for text in found.left_out]
    if found.cases:
        lines.append(f"learned from {len(found.cases)} cases, {len(found.held)} held out")
    answer(words, data, "\n".join([*lines, f"the model is {found.model}"]))
    return 0
