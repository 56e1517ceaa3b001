"""Text from files and headers never becomes HTML, a formula or a command to the terminal."""

import csv
import json
import re
import unicodedata

import numpy as np
import pytest

from grids import oriented
from oncoseg import results
from oncoseg.__main__ import call
from oncoseg.case import Prediction, Task
from oncoseg.cli.words import Words, answer, complain
from oncoseg.errors import printable
from oncoseg.evaluate.table import Evaluation, Row
from oncoseg.report import report

GRID = oriented((6, 6, 6), (1.0, 1.0, 1.0), (0, 1, 2), (1, 1, 1))
HTML = "<img src=x onerror=alert(1)>\"'&"
STEER = "\x1b[2J\x1b]0;gone\x07\x9b31m\u202etxt.exe"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tête 頭 ½ ✓", "tête 頭 ½ ✓"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202eexe", "\\u202eexe"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_could_steer_a_terminal_is_shown_as_escapes(text, shown):
    assert printable(text) == shown


def test_complaints_and_answers_hold_no_control_character(capsys):
    complain(f"{STEER}\noncoseg: all is well")
    answer(Words(), {}, f"first {STEER}\nsecond")
    answer(Words(json=True), {"case": STEER}, "")
    found = capsys.readouterr()
    for text in (found.out, found.err):
        assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert found.err.count("\n") == 1
    assert json.loads(found.out[found.out.index("{") :]) == {"case": STEER}


def test_a_path_with_escapes_is_complained_of_in_plain_letters(tmp_path, capsys):
    assert call(["report", f"{tmp_path}/{STEER}"]) == 1
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", " =1+1", "\r=1", "a\r=1", "\n=1", "\uff1d1"]
)
def test_no_cell_is_a_formula(tmp_path, name):
    row = Row(name, name, "r", "dice", 0.5, "ok", 1.0, 1.0)
    dice = {"dice": {"unit": "", "higher": True, "empty": ""}}
    Evaluation.of([row], dice).write(tmp_path)
    for file in ("cases.csv", "summary.csv"):
        text = (tmp_path / file).read_bytes().decode()
        for line in re.split(r"[\r\n]+", text):
            for cell in next(csv.reader([line]), []):
                assert unicodedata.normalize("NFKC", cell.lstrip())[:1] not in tuple("=+-@")


def test_reports_show_markup_as_text(tmp_path):
    task = Task(HTML, (HTML,), {HTML: 1}, {HTML: (HTML,)})
    label = np.zeros(GRID.shape, np.uint8)
    label[2:5, 2:5, 2:5] = 1
    empty = np.zeros((1, *GRID.shape), np.float16)
    images = {HTML: tmp_path / "gone.nii.gz"}
    made = Prediction("case", task, GRID, label, empty, (HTML,), images=images)
    results.save(made.but(model={"name": HTML, HTML: HTML}, notes=(HTML,)), tmp_path)
    (page,) = report(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&amp;" in text
    assert HTML in json.loads((tmp_path / "case.report.json").read_text(encoding="utf-8"))["task"]
