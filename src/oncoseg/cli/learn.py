"""From labelled scans to a model: `oncoseg prepare` and `oncoseg train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.cli.words import (
    CLUSTER,
    Parser,
    Words,
    add_command,
    answer,
    complain,
    count,
    label_values,
    listed,
    options,
    positive,
    region_members,
)
from oncoseg.errors import BadOption
from oncoseg.extras import require
from oncoseg.run import EACH

TASK = ("labels", "regions", "modalities")
LEARNING = (
    *("network", "method", "loss", "seed", "rate", "batch", "device", "precision", "workers"),
    *TASK,
)
RUN = (
    *("data", "to", "augmentations", "minutes", "steps", "folds", "apart", "fold", "hold"),
    *("balanced", "start", "deterministic", "tensorboard", "plan", "name", "labelled", "posthoc"),
    *LEARNING,
)
FOLDS = 5


def add(commands: Any) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "prepare",
        "plan a task and store its cases as arrays that patches are read from",
        prepare,
        examples="  oncoseg prepare data/ --to prepared/\n"
        "  oncoseg prepare data/ --to prepared/ --labels edema=1,core=2",
    )
    parser.add_argument("data", type=Path, help="data set with labels")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="to write")
    parser.add_argument("--plan", type=Path, metavar="JSON", help="a plan made before, as it is")
    add_task(parser)
    _add_train(commands)


def _add_train(commands: Any) -> None:
    parser = add_command(
        commands,
        "train",
        "train a model on labelled scans and write it as one file",
        train,
        examples="  oncoseg train data/ --to model.onco --minutes 60\n"
        "  oncoseg train data/ --to model.onco --network unet --loss dice_ce --fold 0\n"
        "  oncoseg train data/ --to model.onco --folds 5 --minutes 60 --resume\n"
        "  oncoseg train data/ --to model.onco --fold 0 --seeds 3\n"
        "  oncoseg train data/ --to model.onco --folds 5 --cluster head:6379\n"
        "  torchrun --nproc-per-node 2 -m -- oncoseg train data/ --to model.onco\n"
        "  oncoseg train --run run.toml",
    )
    parser.add_argument("data", nargs="?", default="", help="data set with labels, or prepared")
    parser.add_argument("--to", metavar="MODEL", help="file to write (.onco)")
    parser.add_argument(
        "--run", type=Path, metavar="RUN", help="a run.toml to repeat; other options change it"
    )
    parser.add_argument(
        "--augmentation",
        dest="augmentations",
        action="append",
        help="name:option=value,...; may be given several times, applied in that order",
    )
    parser.add_argument(
        "--posthoc",
        action="append",
        help="name:option=value,...; a step learned from held-out cases and kept in the model; "
        "temperature, predicted_dice, conformal where there are such cases; 'none' for no step",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=positive, help="stop after so many minutes")
    length.add_argument("--steps", type=count, help="stop after so many steps")
    parser.add_argument(
        "--folds", type=count, help="parts to split the patients into, each held out in turn"
    )
    parser.add_argument("--fold", type=count, help="the one part to hold out, from 0; of 5 parts")
    parser.add_argument(
        "--apart", choices=("patient", "site"), help="what is never in two parts; patient"
    )
    parser.add_argument("--hold", type=listed, help="P1,P2,...: patients to hold out instead")
    parser.add_argument("--start", metavar="MODEL", help="a model whose weights to start from")
    parser.add_argument(
        "--labelled", type=count, metavar="N", help="use the labels of N training patients alone"
    )
    parser.add_argument(
        "--balanced", action="store_true", help="see every site equally often, however many cases"
    )
    parser.add_argument(
        "--seeds", type=count, metavar="N", help="train N times and say how much is chance"
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="with --steps: the same weights to the bit each time, also on a GPU, or a refusal",
    )
    parser.add_argument("--name", help="name of the model, in its card")
    parser.add_argument("--plan", metavar="JSON", help="a plan made before, used as it is")
    parser.add_argument(
        "--tensorboard", action="store_true", help="write curves and pictures for TensorBoard"
    )
    parser.add_argument(
        "--cluster", **CLUSTER, help="train folds or seeds at once on Ray: this, or the one here"
    )
    parser.add_argument("--resume", action="store_true", help="go on where this run stopped")
    add_learning(parser)


def add_learning(parser: Parser) -> None:
    """Add what all that trains is asked: its parts, seed, rate, batch, arithmetic and task."""
    for slot, many in (("network", "networks"), ("method", "methods"), ("loss", "losses")):
        parser.add_argument(f"--{slot}", help=f"name:option=value,...; see 'oncoseg list {many}'")
    parser.add_argument("--seed", type=count, help="the same seed gives the same weights")
    parser.add_argument("--rate", type=positive, help="learning rate")
    parser.add_argument("--batch", type=count, help="patches a step; the plan's if not given")
    parser.add_argument("--precision", choices=("bf16", "f32"), help="of the arithmetic")
    parser.add_argument("--workers", type=count, help="threads that read patches")
    parser.add_argument("--device", help="cpu, cuda, ...; the best there is if not given")
    add_task(parser)


def add_task(parser: Parser) -> None:
    """Add the options that state a task."""
    parser.add_argument("--labels", type=label_values, help="name=number,... in the label maps")
    parser.add_argument("--regions", type=region_members, help="region=label+label,...")
    parser.add_argument("--modalities", type=listed, help="T1,T2,...: those to use, in this order")


def prepare(words: Words) -> int:
    """`oncoseg prepare`."""
    from oncoseg.prepare import prepare as run

    plan = run(words.data, words.to, tell=complain, **options(words, "plan", *TASK))
    answer(words, {"plan": str(plan)}, f"the plan is {plan}, the arrays lie beside it")
    return 0


def train(words: Words) -> int:
    """`oncoseg train`."""
    require("torch", "train")
    from oncoseg.run import Run
    from oncoseg.train import train as learn
    from oncoseg.train.folds import table
    from oncoseg.train.page import NAME

    given = choices(words)
    if hasattr(words, "run"):
        run = Run.read(words.run, **given)
    elif "data" in given and "to" in given:
        run = Run(**given)
    else:
        raise BadOption("say what to train on and where: oncoseg train DATA --to MODEL.onco")
    if hasattr(words, "seeds"):
        return _seeds(words, run)
    model = learn(run, resume=hasattr(words, "resume"), **options(words, "cluster"))
    said = f"\nhow it learned: {shown}" if (shown := run.folder / NAME).exists() else ""
    said += f"\nit runs in torch alone: {why}" if (why := bare(model)) else ""
    said += f"\n\n{table(run)}" if run.folds > 1 and run.fold == EACH else ""
    answer(words, {"model": str(model)}, f"the model is {model}{said}")
    return 0


def bare(model: Path) -> str:
    """Why a model holds no exported graph; nothing if it does, or is no one file."""
    from oncoseg.model import open_model

    return str(open_model(model).card.get("torch_alone", "")) if model.is_file() else ""


def _seeds(words: Words, run: Any) -> int:
    from oncoseg import files
    from oncoseg.train import seeds

    given = {"resume": hasattr(words, "resume"), **options(words, "cluster")}
    model = seeds.each_seed(run, words.seeds, **given)
    record = files.read_json(run.folder / seeds.RECORD)
    answer(words, {"model": str(model), **record}, f"the model is {model}\n\n{seeds.table(run)}")
    return 0


def choices(words: Words) -> dict[str, Any]:
    """What the words say of a run, and what follows from it: one bound on its length, and folds."""
    given = {name: value for name, value in options(words, *RUN).items() if value != ""}
    for name in {"augmentations", "posthoc"} & given.keys():
        given[name] = tuple(given[name])
    if "steps" in given:
        given["minutes"] = 0.0
    elif "minutes" in given:
        given["steps"] = 0
    if "fold" in given and not hasattr(words, "run"):
        given.setdefault("folds", FOLDS)
    elif given.get("folds", 1) > 1 and "hold" not in given:
        given["fold"] = EACH
    return given
