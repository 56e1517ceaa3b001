"""Code in the README and the docs: blocks marked `run` are run, every `oncoseg` line must parse."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from oncoseg import phantom
from oncoseg.__main__ import parser
from oncoseg.cli.catalogue import models
from runs import toy_data

REPO = Path(__file__).parents[2]
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)( run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """(language, whether it is run, code) of every block in a page."""
    return [
        (language, bool(run), code)
        for language, run, code in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language in ("bash", "python")
    ]


def lines_of(code):
    """The commands of a shell block, without comments."""
    lines = (line.partition(" #")[0].strip() for line in code.replace("\\\n", " ").splitlines())
    return [shlex.split(line) for line in lines if line]


def ids(pages):
    return [page.relative_to(REPO).as_posix() for page in pages]


RUN = [page for page in PAGES if any(run for _, run, _ in blocks(page))]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with `scans/`, two small synthetic patients, and `data/`, a labelled toy world."""
    folder = tmp_path_factory.mktemp("docs with spaces é")
    for seed in (1, 2):
        case = phantom.patient(seed, shape=(64, 72, 60), spacing=(2.5, 2.5, 2.5))
        phantom.write(case, folder / "scans")
    toy_data(folder / "data", 0, 4, size=16, layout="brats")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_every_line_is_one_that_is_understood(page):
    top, commands = parser()
    for language, _, code in blocks(page):
        if language == "python":
            compile(code, str(page), "exec")
            continue
        for words in lines_of(code):
            assert words[0] in ("oncoseg", "make"), f"{page.name}: {words[0]}"
            if words[0] == "oncoseg":
                assert words[1] in commands
                top.parse_args(words[1:])


@pytest.mark.parametrize("page", RUN, ids=ids(RUN))
def test_blocks_marked_run_do(page, world):
    for language, run, code in blocks(page):
        if not run:
            continue
        if "glioma" in code and "glioma" not in models():
            pytest.skip("the model 'glioma' is not in this copy")
        program = [sys.executable]
        calls = [[*program, "-c", code]]
        if language == "bash":
            calls = [[*program, "-m", *words] for words in lines_of(code)]
        for call in calls:
            done = subprocess.run(
                call, cwd=world, capture_output=True, text=True, check=False, encoding="utf-8"
            )
            assert done.returncode == 0, f"{call[1:]}\n{done.stdout}\n{done.stderr}"
