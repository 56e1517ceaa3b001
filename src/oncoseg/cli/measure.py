"""From scans to measurements: `oncoseg predict`, `evaluate`, `report` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.cli.stop import ending_cleanly
from oncoseg.cli.words import (
    CASES,
    CLUSTER,
    Words,
    add_command,
    answer,
    complain,
    count,
    fraction,
    listed,
    named,
    options,
    pairs,
    part_list,
    paths,
    region_values,
)


def add(commands: Any) -> None:
    """Add the commands of this module."""
    _add_predict(commands)
    _add_evaluate(commands)
    _add_write(commands)
    parser = add_command(
        commands,
        "report",
        "write a report, a page and a JSON file, for each predicted case",
        report,
        examples="  oncoseg report out/\n"
        "  oncoseg report out/ --to reports/ --as html,pdf\n"
        "  oncoseg report out/ --findings recist,checks\n"
        "  oncoseg report out/ --to handover/ --visits visits.csv --pseudonymise key.txt\n"
        "  oncoseg report now/ --prior before/ --rule rano --told clinical=stable,steroids=less\n"
        "  oncoseg report after/ --prior before/ --resection",
    )
    parser.add_argument("predictions", type=Path, help="folder that 'oncoseg predict' wrote")
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="for the reports; beside the predictions"
    )
    parser.add_argument(
        "--as",
        dest="kinds",
        type=listed,
        metavar="KIND,KIND",
        help="html, pdf, key-images (DICOM, of each lesion); html if not given; parquet: "
        "cohort.parquet too",
    )
    parser.add_argument(
        "--findings",
        type=part_list,
        metavar="NAMES",
        help="measured further: names from 'oncoseg list findings', with commas between",
    )
    parser.add_argument("--language", help="of the sentences; en")
    parser.add_argument(
        "--visits",
        type=Path,
        metavar="FILE",
        help="CSV with case, patient, and date or day: courses of patients with several cases",
    )
    _add_key(parser, "replace names and UIDs, leave out dates and faces")
    _add_earlier(parser)
    parser = add_command(
        commands,
        "demo",
        "make a synthetic patient, segment, measure and report it: the whole path in a minute",
        demo,
        examples="  oncoseg demo\n  oncoseg demo --to demo/",
    )
    parser.add_argument(
        "--to", type=Path, default=Path("demo"), metavar="FOLDER", help="to write; demo/"
    )


def _add_earlier(parser: Any) -> None:
    parser.add_argument(
        "--prior",
        dest="priors",
        action="append",
        type=Path,
        metavar="EARLIER",
        help="prediction of an earlier scan, or its folder; again for even earlier ones",
    )
    parser.add_argument(
        "--rule",
        metavar="RULE",
        help="name the response by recist or rano, with options of that finding",
    )
    parser.add_argument(
        "--told",
        type=pairs,
        metavar="WORD=VALUE,...",
        help="what the rule asks a person: clinical=better, stable or worse; steroids=none, less, "
        "stable or more; nontarget=none, CR, non-CR/non-PD, PD or NE; confirmed=yes or no",
    )
    parser.add_argument(
        "--resection",
        action="store_true",
        help="the first prior is the last scan before surgery: how much was removed",
    )


def _add_predict(commands: Any) -> None:
    parser = add_command(
        commands,
        "predict",
        "segment scans with a model, from any subset of the modalities it was trained on",
        predict,
        examples="  oncoseg predict glioma scans/ --to out/\n"
        "  oncoseg predict model.onco scans/ --to out/ --probabilities --json\n"
        "  oncoseg predict model.onco scans/ --to out/ --uncertainty\n"
        "  oncoseg predict model.onco scans/ --to out/ --memory 4GB\n"
        "  oncoseg predict model.onco dicom/ --to out/ --as seg,rtstruct,sr\n"
        "  oncoseg predict model.onco scans/ --to out/ --cluster head:6379",
    )
    parser.add_argument("model", help="a model file (.onco), or the name of one in 'oncoseg list'")
    parser.add_argument("scans", type=Path, help="folder of cases, or one case")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="to write")
    _add_kinds(parser, required=False)
    parser.add_argument(
        "--probabilities", action="store_true", help="write each region's probability map too"
    )
    parser.add_argument(
        "--uncertainty", action="store_true", help="write entropy and margin, and rate each lesion"
    )
    parser.add_argument(
        "--samples",
        type=count,
        metavar="N",
        help="average N draws, members or mirrored views; writes their mean and spread",
    )
    engines = ("openvino", "onnxruntime", "torch")
    parser.add_argument("--engine", choices=engines, help="what computes; openvino")
    parser.add_argument("--device", help="cpu, cuda, ...; chosen by the engine if not given")
    parser.add_argument("--overlap", type=fraction, help="of neighbouring windows, in [0, 1); 0.5")
    parser.add_argument(
        "--memory", metavar="SIZE", help="to take at most, as 4GB; what the machine has"
    )
    parser.add_argument(
        "--cluster", **CLUSTER, help="spread the cases over a Ray cluster: this, or the one here"
    )
    parser.add_argument("--cases", **CASES)


def _add_write(commands: Any) -> None:
    parser = add_command(
        commands,
        "write",
        "write predictions as DICOM SEG, RTSTRUCT and SR of their series, or as BIDS derivatives",
        write,
        examples="  oncoseg write out/ --as seg,rtstruct,sr\n"
        "  oncoseg write out/ --as seg,sr,bids --to handover/ --pseudonymise key.txt",
    )
    parser.add_argument("predictions", type=Path, help="folder that 'oncoseg predict' wrote")
    _add_kinds(parser, required=True)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="beside the predictions if not")
    _add_key(parser, "replace names and UIDs, leave dates empty")


def _add_key(parser: Any, what: str) -> None:
    parser.add_argument(
        "--pseudonymise",
        dest="key",
        type=Path,
        metavar="KEY",
        help=f"{what}; KEY is a file, made on first use: keep it",
    )


def _add_kinds(parser: Any, *, required: bool) -> None:
    parser.add_argument(
        "--as",
        dest="kinds",
        type=listed,
        required=required,
        metavar="KIND,KIND",
        help="seg, labelmap, rtstruct, sr (DICOM) or bids, beside the NIfTI label map",
    )


def _add_evaluate(commands: Any) -> None:
    parser = add_command(
        commands,
        "evaluate",
        "compare predictions with the truth: values a case and region, with intervals",
        evaluate,
        examples="  oncoseg evaluate out/ truth/\n"
        "  oncoseg evaluate out/ truth/ --metrics dice,hd95 --to scores/\n"
        "  oncoseg evaluate maps/ truth/ --regions wt=1,2,4 tc=1,4 et=4\n"
        "  oncoseg evaluate drawn.nii.gz true.nii.gz --metrics dice,hd95",
    )
    parser.add_argument("predictions", type=Path, help="what 'oncoseg predict' wrote, or one file")
    parser.add_argument("truth", type=Path, help="data set with labels, label maps, or one file")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="for the table, as JSON and CSV; a run that was killed goes on from there",
    )
    parser.add_argument(
        "--metrics", type=part_list, help="names from 'oncoseg list metrics', with commas between"
    )
    parser.add_argument(
        "--regions",
        nargs="+",
        metavar="NAME=VALUES",
        help="label values of each region, as wt=1,2,4 tc=1,4; those of the predictions' records",
    )
    parser.add_argument("--cases", **CASES)
    parser.add_argument(
        "--instances", action="store_true", help="each value of a label map is one instance"
    )


def predict(words: Words) -> int:
    """`oncoseg predict`; 1 if a case failed, after the others are finished."""
    from oncoseg.predict import predict as run

    chosen = options(
        words,
        "engine",
        "device",
        "overlap",
        "probabilities",
        "uncertainty",
        "samples",
        "kinds",
        "memory",
        "cluster",
    ) | named(words)
    with ending_cleanly():
        outcome = run(words.model, words.scans, to=words.to, say=complain, **chosen)
    data = vars(outcome) | {"done": paths(outcome.done)}
    text = f"{_cases(len(outcome.done) - len(outcome.kept))} predicted, written to {words.to}"
    if outcome.kept:
        text += f"; {_cases(len(outcome.kept))} there already, of the same model and files"
    answer(words, data, text)
    for case, sentence in outcome.unlike.items():
        complain(f"case {case}: {sentence}")
    for case, cause in outcome.failed.items():
        complain(f"case {case} failed: {cause}")
    return 1 if outcome.failed else 0


def write(words: Words) -> int:
    """`oncoseg write`; 1 if a case could not be written, after the others are finished."""
    from oncoseg.results import deliver as run

    outcome = run(words.predictions, words.kinds, **options(words, "to", "key"))
    data = {"written": paths(outcome.done), "failed": dict(outcome.failed)}
    answer(words, data, "\n".join(paths(outcome.done)))
    for case, cause in outcome.failed.items():
        complain(f"case {case} failed: {cause}")
    return 1 if outcome.failed else 0


def evaluate(words: Words) -> int:
    """`oncoseg evaluate`; 1 if a case was missing or failed, after the others are finished."""
    from oncoseg.evaluate import evaluate as run

    chosen = options(words, "metrics", "to", "instances") | named(words)
    if hasattr(words, "regions"):
        chosen["regions"] = region_values(words.regions)
    evaluation = run(words.predictions, words.truth, **chosen)
    answer(words, evaluation.as_dict(), evaluation.table())
    return 1 if evaluation.failed else 0


def report(words: Words) -> int:
    """`oncoseg report`."""
    from oncoseg.report import report as run
    from oncoseg.response import Earlier

    chosen = options(words, "to", "kinds", "findings", "language", "visits", "key")
    earlier = Earlier(**options(words, "priors", "rule", "told", "resection"))
    written = run(words.predictions, **chosen, earlier=earlier)
    answer(words, {"reports": paths(written)}, "\n".join(paths(written)))
    return 0


def demo(words: Words) -> int:
    """`oncoseg demo`."""
    from oncoseg.demo import demo as run

    if hasattr(words, "json"):
        answer(words, {"report": str(run(words.to))}, "")
    else:
        run(words.to, say=print)
    return 0


def _cases(number: int) -> str:
    return "1 case" if number == 1 else f"{number} cases"
