"""Sites that train together: `oncoseg federate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.cli.words import (
    Words,
    add_command,
    answer,
    count,
    label_values,
    listed,
    options,
    positive,
    region_members,
)

RUN = (
    *("network", "method", "loss", "augmentations", "start", "seed", "rate", "batch", "device"),
    *("precision", "workers", "plan", "name", "labels", "regions", "modalities"),
)


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
    for slot, many in (
        ("strategy", "strategies"),
        ("network", "networks"),
        ("method", "methods"),
        ("loss", "losses"),
    ):
        parser.add_argument(f"--{slot}", help=f"name:option=value,...; see 'oncoseg list {many}'")
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
    parser.add_argument("--seed", type=count, help="the same seed gives the same run")
    parser.add_argument("--rate", type=positive, help="learning rate")
    parser.add_argument("--batch", type=count, help="patches a step; the plan's if not given")
    parser.add_argument("--precision", choices=("bf16", "f32"), help="of the arithmetic")
    parser.add_argument("--workers", type=count, help="threads that read patches, at each site")
    parser.add_argument("--device", help="cpu, cuda, ...; the best there is if not given")
    parser.add_argument("--name", help="name of the model, in its card")
    parser.add_argument("--plan", metavar="JSON", help="a plan for all; else the first site's")
    parser.add_argument("--labels", type=label_values, help="name=number,... in the label maps")
    parser.add_argument("--regions", type=region_members, help="region=label+label,...")
    parser.add_argument("--modalities", type=listed, help="T1,T2,...: those to use, in this order")


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
