"""The PDF: every sheet says whose it is, which of how many, and that it is for research alone."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from oncoseg import Grid, Prediction, Task, results
from oncoseg.errors import MissingExtra, UnknownName
from oncoseg.report import pdf, report
from oncoseg.write import write_volume


def predict(folder, case="p1", steps=(1.0, 1.0, 2.0)):
    """A tumour of 8 x 10 x 6 voxels in one image, saved; returns the folder."""
    shape = (30, 32, 16)
    label = np.zeros(shape, np.uint8)
    label[4:12, 8:18, 5:11] = 1
    image = np.full(shape, 50, np.float32)
    image[2:28, 2:30, 1:15] = 100
    image[label > 0] = 180
    grid = Grid(shape, np.diag([*steps, 1]))
    path = write_volume(folder / f"{case}_t1.nii.gz", image, grid)
    task = Task("toy", ("t1",), {"tumour": 1}, {"tumour": ("tumour",)})
    nothing = np.zeros((0, *shape), np.float16)
    made = Prediction(case, task, grid, label, nothing, ("t1",), images={"t1": path})
    results.save(made, folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pytest.importorskip("weasyprint", reason="needs the extra 'report'")
    folder = tmp_path_factory.mktemp("pdf")
    return report(predict(folder), to=folder / "pages", kinds=("html", "pdf"))


def told(program, *given):
    if not shutil.which(program):
        pytest.skip(f"needs {program}")
    command = [program, *map(str, given)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_each_sheet_has_its_head_and_foot(made):
    assert [path.suffix for path in made] == [".html", ".pdf"]
    sheets = told("pdftotext", "-layout", made[1], "-").rstrip("\f").split("\f")
    assert len(sheets) > 1
    for number, sheet in enumerate(sheets, start=1):
        assert "p1" in sheet.splitlines()[0]
        assert "Research use only. Not a medical device." in sheet
        assert f"Page {number} of {len(sheets)}" in sheet
    assert "One lesion: tumour 0.960 ml" in re.sub(r"\s+", " ", sheets[0])


def test_each_fact_stands_beside_its_name(made):
    text = told("pdftotext", "-layout", made[1], "-")
    assert re.search(r"\n *distance of slices +2\.00 mm: ok\n", text)
    assert re.search(r"\n *Label map +p1\.nii\.gz\n", text)
    assert re.search(r"\n *Grid +30\s\S\s32\s\S\s16 voxels of 1\s\S\s1\s\S\s2 mm\n", text)


def test_the_sheets_are_a4(made):
    assert "(A4)" in told("pdfinfo", made[1])


def test_contours_are_drawn_where_they_were_in_voxels_of_any_shape():
    placed = pdf._placed("M2 4l2 0 0 6 -2 0zM0 0l1 1z", "translate(10 20) scale(0.5 2)")
    assert placed == "M11.00 28.00l1.00 0.00 0.00 12.00 -1.00 0.00zM10.00 20.00l0.50 2.00z"
    assert pdf._placed("M2 4l2 0z", "scale(0.50000 1.00000)") == "M1.00 4.00l1.00 0.00z"


def test_every_class_of_line_in_the_pictures_has_its_look(made):
    page = made[0].read_text(encoding="utf-8")
    drawn = set(re.findall(r'<path class="([^"]*)"', page))
    assert drawn <= pdf.LOOKS.keys()


def test_only_a_pdf_and_what_there_is_not(tmp_path):
    pytest.importorskip("weasyprint", reason="needs the extra 'report'")
    out = predict(tmp_path)
    assert [path.name for path in report(out, to=tmp_path / "a", kinds=("pdf",))] == ["p1.pdf"]
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"p1.pdf", "p1.report.json"}
    with pytest.raises(UnknownName, match="html"):
        report(out, kinds=("htm",))


@pytest.mark.parametrize("cause", [ImportError, OSError])
def test_a_missing_package_or_library_is_one_sentence_before_any_work(tmp_path, monkeypatch, cause):
    out = predict(tmp_path)

    def required(name, extra):
        if cause is OSError:
            raise OSError("cannot load library 'libpango-1.0-0'")
        raise MissingExtra("run: pip install 'oncoseg[report]'")

    monkeypatch.setattr(pdf, "require", required)
    with pytest.raises(MissingExtra, match=r"libpango|oncoseg\[report\]"):
        report(out, to=tmp_path / "pages", kinds=("html", "pdf"))
    assert not (tmp_path / "pages").exists()
