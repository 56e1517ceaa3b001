"""Reports of what is empty, cut, gone or tiny: honest sentences, no number nobody measured."""

import json
import re

import numpy as np
import pytest

from oncoseg import Grid, Prediction, Task, results
from oncoseg.report import report
from oncoseg.report.sentences import TIMES
from oncoseg.write import write_volume


def reported(folder, label, *, gone=False, empty_scan=False, **changes):
    """The page's text and the JSON of a prediction of `label` in one image of 1 mm."""
    image = np.full(label.shape, 0 if empty_scan else 100, np.float32)
    image[label > 0] += 50
    grid = Grid(label.shape, np.diag([1.0] * label.ndim + [1.0]))
    name = "scan.nii.gz" if label.ndim == 3 else "scan.png"
    path = write_volume(folder / name, image if label.ndim == 3 else image.astype(np.uint8), grid)
    task = Task("toy", ("t1",), {"tumour": 1}, {"tumour": ("tumour",)}, patch=(8,) * label.ndim)
    nothing = np.zeros((0, *label.shape), np.float16)
    made = Prediction("p", task, grid, label, nothing, ("t1",), images={"t1": path})
    results.save(made.but(**changes), folder / "out")
    if gone:
        path.unlink()
    (page,) = report(folder / "out")
    plain = json.loads((folder / "out" / "p.report.json").read_text(encoding="utf-8"))
    return page.read_text(encoding="utf-8"), plain


def cube(*place, shape=(24, 24, 20)):
    label = np.zeros(shape, np.uint8)
    label[place] = 1
    return label


def test_no_tumour_is_said_first_and_without_a_number(tmp_path):
    text, plain = reported(tmp_path, cube(slice(0, 0)))
    assert plain["answer"] == (
        "No tumour was found: the model marked no voxel as tumour. "
        "This does not show that there is none."
    )
    assert not re.search(r"\d", plain["answer"] + " ".join(plain["sentences"]))
    assert text.index(plain["answer"]) < text.index("<section")
    assert "Lesion by lesion" not in text
    assert "not found" in text


def test_an_empty_mask_without_images_still_is_a_report(tmp_path):
    text, plain = reported(tmp_path, cube(slice(0, 0)), gone=True)
    assert plain["answer"].startswith("No tumour was found")
    assert not plain["pictures"]
    assert any("no longer where it was" in one for one in plain["notes"])
    assert "<svg" not in text


@pytest.mark.parametrize("side", range(3))
@pytest.mark.parametrize("end", [0, -1])
def test_what_the_image_cuts_is_at_least_as_large(tmp_path, side, end):
    place = [slice(6, 14)] * 3
    place[side] = slice(0, 8) if end == 0 else slice(-8, None)
    _, plain = reported(tmp_path, cube(*place))
    first = f"One lesion: tumour at least 0.512 ml, longest diameter at least 11.3{TIMES}11.3 mm"
    assert plain["answer"].startswith(first)
    assert any("beyond" in one for one in [*plain["notes"], *plain["unassessed"]])
    _, plain = reported(tmp_path, cube(*[slice(6, 14)] * 3))
    assert "at least" not in plain["answer"]


def test_a_scan_that_is_empty_is_told(tmp_path):
    _, plain = reported(tmp_path, cube(slice(0, 0)), empty_scan=True)
    assert plain["notes"]


def test_images_that_are_gone_change_no_measurement(tmp_path):
    there = reported(tmp_path / "a", cube(*[slice(6, 14)] * 3))[1]
    gone = reported(tmp_path / "b", cube(*[slice(6, 14)] * 3), gone=True)[1]
    assert there["answer"] == gone["answer"]
    for name in ("volumes", "diameters", "extent"):
        assert there["findings"][name] == gone["findings"][name]


def test_pieces_too_small_for_a_lesion_have_no_picture_and_no_count(tmp_path):
    text, plain = reported(tmp_path, cube(*[slice(6, 9)] * 3))
    assert plain["answer"].startswith("No lesion large enough to count, smaller pieces alone")
    assert "Lesion by lesion" not in text
    assert "0.027 ml in all" in plain["answer"]


def test_a_flat_image_has_its_diameters_drawn(tmp_path):
    text, plain = reported(tmp_path, cube(slice(6, 26), slice(8, 20), shape=(40, 30)))
    assert plain["answer"] == (f"One lesion: tumour 240.0 px, longest diameter 23.3{TIMES}14.0 px.")
    assert text.count('class="rule"') == 2
    ends = re.search(r'class="rule" d="M(\S+) (\S+)L(\S+) ([\d.]+)"', text).groups()
    x, y, u, v = map(float, ends)
    assert sorted((x, u)) == [8, 20]
    assert sorted((y, v)) == [6, 26]
    assert f"tumour 1 23.3{TIMES}14.0 px" in text
