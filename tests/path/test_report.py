"""The report: self-contained, private, right about what it shows, honest about what it lacks."""

import json
import math
import re

import numpy as np
import pytest

from oncoseg import Grid, Prediction, Task, results
from oncoseg.blocks.contours import contours, svg_path
from oncoseg.errors import BadData, UnknownName
from oncoseg.report import report
from oncoseg.report.pictures import Atlas
from oncoseg.report.plates import plates
from oncoseg.report.sentences import TIMES
from oncoseg.report.slices import tinted
from oncoseg.write import write_volume

RAS = np.diag([1.0, 1, 2, 1])


def predict(folder, case="p1", *, affine=RAS, empty=False, shift=0.0):
    shape = (30, 32, 16)
    label = np.zeros(shape, np.uint8)
    if not empty:
        label[4:12, 8:18, 5:11] = 1
        label[6:9, 10:14, 6:9] = 2
    image = np.zeros(shape, np.float32)
    image[2:28, 2:30, 1:15] = 100
    image[label > 0] += 80
    images = {}
    for number, name in enumerate(("t1", "flair")):
        images[name] = folder / "Jane Doe" / f"{case}_{name}.nii.gz"
        moved = np.array(affine)
        moved[0, 3] += shift * number
        write_volume(images[name], image, Grid(shape, moved))
    task = Task(
        "toy",
        ("t1", "flair", "t2"),
        {"rim": 1, "core": 2},
        {"WT": ("rim", "core"), "TC": ("core",)},
    )
    probability = np.stack([label > 0, label > 1]).astype(np.float16)
    model = {"name": "<b>toy</b>", "licence": "CC0"}
    prediction = Prediction(
        case,
        task,
        Grid(shape, np.array(affine)),
        label,
        probability,
        ("t1", "flair"),
        ("t2",),
        images,
        model,
    )
    return prediction.but(notes=(f"A note on {images['t1']} & more.",))


def test_a_page_needs_nothing_else_names_nobody_and_escapes(tmp_path):
    prediction = predict(tmp_path)
    results.save(prediction, tmp_path / "out")
    (page,) = report(tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert page.name == "p1.html"
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", text)
    assert "<script" not in text
    assert "@import" not in text
    assert "Jane Doe" not in text
    assert "<b>toy</b>" not in text
    assert "&lt;b&gt;toy" in text
    assert "A note on p1_t1.nii.gz &amp; more." in text
    assert "Research use only. Not a medical device." in text
    assert text.count("<svg") == 3 + 2 + 6 + 2 * 4  # planes, modalities, slices, lesions
    assert "Jane Doe" not in (tmp_path / "out" / "p1.report.json").read_text(encoding="utf-8")


def test_the_numbers_on_disk_are_the_measured_ones(tmp_path):
    results.save(predict(tmp_path), tmp_path / "out")
    report(tmp_path / "out", to=tmp_path / "pages")
    plain = json.loads((tmp_path / "pages" / "p1.report.json").read_text(encoding="utf-8"))
    rows = plain["findings"]["volumes"]["rows"]
    assert [(row["region"], row["value"]) for row in rows] == [
        ("WT", pytest.approx(8 * 10 * 6 * 2 / 1000)),
        ("TC", pytest.approx(3 * 4 * 3 * 2 / 1000)),
    ]
    dice = {row["region"]: row["value"] for row in plain["findings"]["quality"]["rows"][2:]}
    assert dice == {"WT": 1.0, "TC": 1.0}
    assert plain["missing"] == ["t2"]


def test_a_volume_is_shown_with_its_interval(tmp_path):
    prediction = predict(tmp_path).but(intervals={"WT": (0.8, 12.34)}, level=0.9)
    results.save(prediction, tmp_path / "out")
    text = report(tmp_path / "out")[0].read_text(encoding="utf-8")
    assert "0.960 ml (0.800-12.3, 90%)" in text
    assert text.count("90%") == text.count("(0.800-12.3, 90%)")


def test_moved_images_are_said_and_measured_all_the_same(tmp_path):
    prediction = predict(tmp_path)
    results.save(prediction, tmp_path / "out")
    for path in prediction.images.values():
        path.unlink()
    text = report(tmp_path / "out")[0].read_text(encoding="utf-8")
    assert "Without pictures of t1, flair" in text
    assert "<svg" not in text
    assert "0.960" in text


def test_images_that_lie_elsewhere_are_said(tmp_path):
    prediction = predict(tmp_path)
    other = np.array(RAS)
    other[1, 3] = 40
    image = np.ones(prediction.grid.shape, np.float32)
    for path in prediction.images.values():
        write_volume(path, image, Grid(image.shape, other))
    results.save(prediction, tmp_path / "out")
    assert "may have been replaced" in report(tmp_path / "out")[0].read_text(encoding="utf-8")


def test_an_empty_prediction_says_so(tmp_path):
    results.save(predict(tmp_path, empty=True), tmp_path / "out")
    text = report(tmp_path / "out")[0].read_text(encoding="utf-8")
    assert "No tumour was found" in text
    assert "Diameters as measured" not in text


def test_many_cases_are_listed_and_a_spoilt_one_is_refused_after_the_others(tmp_path):
    out = tmp_path / "a folder"
    for case in ("p1", "p2", "p 3 é"):
        results.save(predict(tmp_path, case), out)
    pages = report(out)
    assert [page.name for page in pages[:3]] == ["p 3 é.html", "p1.html", "p2.html"]
    assert [page.name for page in pages[3:]] == ["cohort.csv", "index.html"]
    assert [page.name for page in report(out, cases=["p2"])] == ["p2.html"]
    with pytest.raises(UnknownName, match="did you mean"):
        report(out, cases=["p4"])
    (out / "p1.nii.gz").write_bytes(b"cut")
    (out / "p2.html").unlink()
    with pytest.raises(BadData, match="1 of 3"):
        report(out)
    assert "p1,p1,,failed," in (out / "cohort.csv").read_text(encoding="utf-8")
    assert "1 of 3 cases could not be reported: p1." in (out / "index.html").read_text("utf-8")
    assert (out / "p2.html").exists()
    with pytest.raises(BadData, match="no prediction"):
        report(tmp_path)


def test_pictures_do_not_depend_on_how_the_scan_is_stored(tmp_path):
    straight = predict(tmp_path)
    turned = np.transpose(straight.label, (2, 0, 1))[::-1, :, ::-1]
    affine = np.array([[0, 1.0, 0, 0], [0, 0, -1, 31], [-2, 0, 0, 30], [0, 0, 0, 1]])
    other = straight.but(label=turned, grid=Grid(turned.shape, affine))
    one, two = Atlas(straight, {}), Atlas(other, {})
    for plane in ("axial", "coronal", "sagittal"):
        at = one.widest(plane)
        assert two.widest(plane) == at
        assert one.panel("", plane, at) == two.panel("", plane, at)


def test_the_right_of_the_patient_is_on_the_left_of_the_picture(tmp_path):
    atlas = Atlas(predict(tmp_path), {})  # the tumour lies in the low, left half of the first axis
    d = re.search(r'class="line"[^>]*d="M(\d+) (\d+)', atlas.panel("", "axial", 7))
    assert int(d[1]) / 2 > 15  # left of the patient: right of the picture
    assert int(d[2]) / 2 > 12  # low along the second axis is the back: below the picture's middle


def test_each_lesion_is_drawn_as_measured_and_those_left_out_are_counted(tmp_path):
    prediction = predict(tmp_path)
    drawn = plates(prediction.but(images={}), {})[-1]
    assert drawn.heading == "Lesion by lesion"
    assert [one.title for one in drawn.figures] == ["WT 1", "", "", "", "TC 1", "", "", ""]
    line = re.search(r'class="rule" d="M(\S+) (\S+)L(\S+) ([\d.]+)"', drawn.figures[0].markup)
    ax, ay, bx, by = map(float, line.groups())
    assert sorted((ax, bx)) == pytest.approx([30 - 12, 30 - 4])
    assert sorted((ay, by)) == pytest.approx([32 - 18, 32 - 8])
    diagonal = math.hypot(8, 10)
    size = f"0.96 ml, {diagonal:.1f}{TIMES}{diagonal * 8 / 10:.1f} mm; axial"
    assert drawn.figures[0].caption.startswith(size)
    assert "are shown" not in drawn.text
    label = np.zeros(prediction.label.shape, np.uint8)
    label[2::8, 2::8, 2::5] = 1  # 4 x 4 x 3 lone voxels of 2 mm³
    label = np.maximum(label, np.roll(label, 1, 0))
    label = np.maximum(label, np.roll(label, 2, 0))
    label = np.maximum(label, np.roll(label, 1, 1))
    label = np.maximum(label, np.roll(label, 2, 1))  # 4 x 4 voxels, 32 mm³
    label = np.maximum(label, np.roll(label, 1, 2))  # 64 mm³
    many = plates(prediction.but(images={}, label=label), {})[-1]
    assert len(many.figures) == 6 * 4
    assert "6 of 48 are shown" in many.text


@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_planes_go_through_the_lesion_however_the_scan_is_stored(tmp_path, turn):
    prediction = predict(tmp_path)
    label = np.transpose(prediction.label, turn)[::-1]
    affine = np.eye(4)
    affine[:3, :3] = RAS[:3, :3][:, turn]
    affine[:3, 3] = affine[:3, 0] * (label.shape[0] - 1)
    affine[:3, 0] *= -1
    other = prediction.but(images={}, label=label, grid=Grid(label.shape, affine))
    one, two = (plates(made, {})[-1].figures for made in (prediction.but(images={}), other))
    for place in (1, 2, 3, 5, 6, 7):  # a longest diameter may be in one of several slices
        assert one[place] == two[place]


def test_contours_run_midway_around_pixels_and_holes():
    mask = np.zeros((5, 6), bool)
    mask[1:4, 1:4] = True
    (square,) = contours(mask)
    x, y = np.array(square).T / 2
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(9 - 4 * 0.5**2 / 2)  # corners are cut
    mask[2, 2] = False
    assert len(contours(mask)) == 2
    assert svg_path(np.zeros((3, 3), bool)) == ""
    assert len(contours(np.eye(4, dtype=bool))) == 1  # diagonal neighbours are one piece


def test_doubt_is_shown_where_it_was_written(tmp_path):
    prediction = predict(tmp_path)
    entropy = np.zeros(prediction.label.shape, np.uint8)
    entropy[prediction.label == 2] = 200
    one = {"name": "WT 1", "region": "WT", "volume_ml": 1.9, "confidence": 0.71}
    two = {"name": "TC 1", "region": "TC", "volume_ml": 0.1, "confidence": 0.66}
    told = {"value": 0.81, "low": 0.6, "high": 0.9, "level": 0.9}
    sure = prediction.but(
        maps={"entropy": entropy},
        lesions=(one, two),
        predicted_dice={"WT": told, "TC": {**told, "value": 0.7}},
    )
    results.save(sure, tmp_path / "out")
    (page,) = report(tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert "Where the model is unsure" in text
    assert "Of 2 pieces the model is least sure of TC 1: 66% of it should be right." in text
    assert "0.810 (0.600-0.900, 90%)" in text
    assert "predicted from held-out cases (Dice): whole tumour 0.810 (0.600-0.900, 90%)" in text
    plain = json.loads((tmp_path / "out" / "p1.report.json").read_text(encoding="utf-8"))
    assert plain["lesions"] == [one, two]
    rows = [row["name"] for row in plain["findings"]["quality"]["rows"]]
    assert rows.count("predicted Dice") == rows.count("expected Dice") == 2
    (tmp_path / "out" / "p1.entropy.nii.gz").unlink()
    assert "Where the model is unsure" not in report(tmp_path / "out")[0].read_text("utf-8")


def test_what_is_unsure_is_red():
    grey = np.array([[0, 100, 200]], np.uint8)
    found = tinted(grey, np.array([[0, 255, 127]], np.uint8), (255, 40, 40))
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[0, 1].tolist() == [255, 40, 40]
    assert found[0, 2, 0] > 200 > found[0, 2, 1]
