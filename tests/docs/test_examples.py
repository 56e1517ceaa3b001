"""The page of example reports quotes what the reports beside it say."""

import json
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_the_quoted_lines_are_those_of_the_report():
    lines = (EXAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    quoted = " ".join(line[2:] for line in lines if line.startswith("> "))
    told = json.loads((EXAMPLES / "real.report.json").read_text(encoding="utf-8"))
    said = " ".join([told["answer"], *told["sentences"]])
    assert quoted == said.replace("\u00a0", " ")


def test_every_picture_of_the_synthetic_report_is_shown():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    pictures = sorted(path.name for path in EXAMPLES.glob("*.png"))
    assert pictures
    assert [name for name in pictures if f"({name})" not in text] == []
