"""Make docs/badinputs.md from the tables: `cd tests && python -m badinputs.page`."""

from collections.abc import Iterable
from pathlib import Path

from badinputs.faults import NIFTI, OTHERS, PICTURES
from badinputs.sets import LABEL, SETS
from badinputs.slices import SERIES

PAGE = Path(__file__).parents[2] / "docs" / "badinputs.md"
TABLES = {
    "NIfTI": NIFTI,
    "NRRD and MetaImage": OTHERS,
    "Pictures": PICTURES,
    "DICOM": SERIES,
    "Label maps": LABEL,
    "Data sets": SETS,
}
HEAD = """# Bad inputs

Made from the tables in `tests/badinputs` by `make docs`; do not edit by hand. Each line is a fault
that the tests make from a good file, and what becomes of it: refused in a sentence that holds these
words, or read exactly, with what is noted of it. No fault ends in a traceback, in a result that is
wrong without a word, or in half a result; the other cases of a batch finish.
"""


def expected(fault: object) -> str:
    """What becomes of it, in words."""
    refused = getattr(fault, "refused", "")
    told = getattr(fault, "note", "") or getattr(fault, "told", "")
    if refused:
        return f"refused: {refused.replace('|', ' or ')}"
    return f"read exactly, and told: {told}" if told else "read exactly"


def rows(faults: Iterable[object]) -> list[str]:
    return [f"| {fault.name} | {fault.made} | {expected(fault)} |" for fault in faults]


def page() -> str:
    """A table a kind of file, and their number."""
    lines = [HEAD, f"There are {sum(map(len, TABLES.values()))} classes."]
    for name, faults in TABLES.items():
        lines += ["", f"## {name}", "", "| fault | how it is made | what becomes of it |"]
        lines += ["|---|---|---|", *rows(faults)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
