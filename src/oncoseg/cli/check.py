"""What is wrong with a data set, before any work: `oncoseg check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg import files
from oncoseg.cli.words import Words, add_command, answer, count, label_values, listed, options


def add(commands: Any) -> None:
    """Add `check`."""
    parser = add_command(
        commands,
        "check",
        "list every problem of a data set before any work, with cause and remedy",
        check,
        examples="  oncoseg check data/\n"
        "  oncoseg check data/ --labels edema=1,core=2 --modalities T1,FLAIR --to problems.json",
    )
    parser.add_argument("data", type=Path, help="data set in any layout, or one case or scan")
    parser.add_argument("--labels", type=label_values, help="name=number,... in the label maps")
    parser.add_argument("--modalities", type=listed, help="T1,T2,...: those each case should have")
    parser.add_argument(
        "--smallest", type=count, help="voxels below which a piece of a label is told; 10"
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="to write the answer to, as JSON")


def check(words: Words) -> int:
    """`oncoseg check`; 1 if there is an error."""
    from oncoseg.check import check as run

    checked = run(words.data, **options(words, "labels", "modalities", "smallest"))
    if hasattr(words, "to"):
        files.write_json(words.to, checked.as_dict())
    answer(words, checked.as_dict(), checked.table())
    return 1 if checked.errors else 0
