"""Sites that train together: `oncoseg federate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.cli.learn import LEARNING, add_learning
from oncoseg.cli.words import (
    Words,
    add_command,
    answer,
    count,
    options,
)

RUN = ("augmentations", "start", "plan", "name", *LEARNING)


def add(commands: Any) -> None:
    """Add `federate`."""
    parser = add_command(
        commands,
        "federate",
        "train one model on the data of several sites, which stays at each of them",
        federate,
        examples="  oncoseg federate siteA/ siteB/ siteC/ --to model.onco --rounds 5 --steps 50\n"
        "  oncoseg federate siteA/ siteB/ --to model.onco --strategy fedprox:pull=0.1",
    )
    parser.add_argument("sites", nargs="+", type=Path, metavar="SITE", help="folder of one site")
    parser.add_argument("--to", required=True, metavar="MODEL", help="file to write (.onco)")
    parser.add_argument("--rounds", type=count, help="times that weights are merged; 5")
    parser.add_argument("--steps", type=count, help="of each site in each round; 50")
    parser.add_argument("--strategy", help="name:option=value,...; see 'oncoseg list strategies'")
    parser.add_argument(
        "--augmentation",
        dest="augmentations",
        action="append",
        help="name:option=value,...; may be given several times, applied in that order",
    )
    parser.add_argument(
        "--engine", choices=("simulation", "process"), help="a process a site, or one after another"
    )
    parser.add_argument("--start", metavar="MODEL", help="a model whose weights to start from")
    parser.add_argument("--name", help="name of the model, in its card")
    parser.add_argument("--plan", metavar="JSON", help="a plan for all; else the first site's")
    add_learning(parser)


def federate(words: Words) -> int:
    """`oncoseg federate`."""
    from oncoseg.extras import require

    require("torch", "train")
    from oncoseg.federate import federate as run_all
    from oncoseg.run import Run

    given = options(words, *RUN)
    if "augmentations" in given:
        given["augmentations"] = tuple(given["augmentations"])
    run = Run(data="", to=words.to, minutes=0.0, steps=getattr(words, "steps", 50), **given)
    model = run_all(run, words.sites, **options(words, "strategy", "rounds", "engine"))
    answer(words, {"model": str(model)}, f"the model is {model}")
    return 0
