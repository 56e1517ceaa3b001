"""What is said of a scan beside earlier ones: changes, categories, resection, and refusals."""

import dataclasses
import datetime as dt
import json
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dicoms import CTImageStorage, file_of
from oncoseg import Grid, Prediction, Task, Volume, results
from oncoseg.blocks.registration import moved
from oncoseg.errors import BadData, BadOption, BadRun, UnknownName
from oncoseg.phantom import patient
from oncoseg.report import report
from oncoseg.report.beside import beside as pictured
from oncoseg.response import Earlier, _ordered, compare, find, resection
from oncoseg.response.align import Told, same_patient, told
from oncoseg.write import write_volume

pytest.importorskip("SimpleITK")

TASK = Task(
    "glioma",
    ("t1ce",),
    {"ED": 1, "ET": 2},
    {"WT": ("ED", "ET"), "ET": ("ET",)},
)
BIG, SMALL = (36, 50, 40, 9), (58, 60, 45, 5)  # voxels of 2 mm


@cache
def head(seed=3):
    case = patient(
        seed, shape=(88, 104, 80), spacing=(2.0, 2.0, 2.0), modalities=["t1ce"], tumour=False
    )
    return case.images["t1ce"]


def motion(grid, angles=(4, -5, 8), shift=(6, -4, 5)):
    middle = (grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = middle + shift - matrix[:3, :3] @ middle
    return matrix


def scan(folder, name, balls, *, seed=3, matrix=None, task=TASK, model=None):
    """A prediction of balls (label, centre, radius) with its image, on disk, moved by `matrix`."""
    image = head(seed)
    grid, index = image.grid, np.indices(image.grid.shape)
    label = np.zeros(grid.shape, np.uint8)
    for value, (*centre, radius) in balls:
        apart = index - np.reshape(centre, (3, 1, 1, 1))
        label[(apart**2).sum(axis=0) <= radius**2] = value
    array = image.array
    if matrix is not None:
        back = np.linalg.inv(matrix)
        array = moved(image, grid, back)[0].astype(np.int16)
        label = moved(Volume(label, grid, image.path), grid, back, order=0)[0]
    path = write_volume(folder / "scans" / f"{name}_t1ce.nii.gz", array, grid)
    prediction = Prediction(
        name,
        task,
        grid,
        label,
        np.zeros((0, *grid.shape), np.float16),
        ("t1ce",),
        images={"t1ce": path},
        model=model or {"name": "toy", "sha256": "0"},
    )
    results.save(prediction, folder / name)
    return prediction, {"t1ce": Volume(array, grid, path)}


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """Two earlier scans and the present one: one lesion grows, one is gone, one is new."""
    folder = tmp_path_factory.mktemp("course")
    grid = head().grid
    new = (55, 40, 38, 5)
    scan(folder, "first", [(1, BIG), (2, (36, 50, 40, 5)), (1, SMALL)], matrix=motion(grid))
    scan(folder, "second", [(1, BIG), (2, (36, 50, 40, 5))])
    now = scan(folder, "now", [(1, (36, 50, 40, 12)), (2, (36, 50, 40, 8)), (1, new)])
    return folder, *now


def compared(*given, **options):
    return compare(*given, **options).sections


def rows(section, **wanted):
    key, whose = next(iter(wanted.items()))
    return {row["name"]: row["value"] for row in section["rows"] if row.get(key) == whose}


def test_a_course_under_a_motion(visits):
    folder, now, images = visits
    section = compared(now, images, Earlier([folder / "first"]))["change"]
    whole, enhancing = rows(section, region="WT"), rows(section, region="ET")
    assert whole["course"] == enhancing["course"] == "growing"
    true = [4 / 3 * np.pi * radius**3 * 8 / 1000 for radius in (5, 8)]
    assert enhancing["before"] == pytest.approx(true[0], rel=0.05)
    assert enhancing["now"] == pytest.approx(true[1], rel=0.05)
    assert enhancing["change"] == pytest.approx(enhancing["now"] - enhancing["before"])
    assert {track["id"]: track["course"] for track in section["tracks"]} == {
        "WT A": "growing",
        "WT B": "resolved",
        "WT C": "new",
        "ET A": "growing",
    }
    assert [whole[f"{kind} lesions"] for kind in ("new", "resolved")] == [1, 1]
    assert [enhancing[f"{kind} lesions"] for kind in ("new", "resolved")] == [0, 0]
    assert any("tilted by 6 degrees" in note for note in section["notes"])
    assert rows(section, lesion="WT 1")["lesion over time"] == "WT A"
    assert rows(section, lesion="WT 2")["course"] == "new"
    assert rows(section, lesion="WT B")["course"] == "resolved"
    assert any("local correlation" in str(row["value"]) for row in section["rows"])


def test_a_report_beside_a_scan_names_neither_under_pseudonyms(visits, tmp_path):
    folder, *_ = visits
    scan(tmp_path / "Jones", "Jones_before", [(1, BIG)], matrix=motion(head().grid))
    report(
        folder / "now",
        to=tmp_path / "handover",
        earlier=Earlier([tmp_path / "Jones" / "Jones_before"], "recist"),
        key=tmp_path / "key.txt",
    )
    (plain,) = (tmp_path / "handover").glob("*.report.json")
    (page,) = (tmp_path / "handover").glob("*.html")
    told = json.loads(plain.read_text(encoding="utf-8"))["findings"]
    assert {"change", "response"} <= told.keys()
    assert rows(told["response"], lesion=None)["category"] == "PD"
    for text in (plain.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")):
        assert "Beside the scan before" in text or text.startswith("{")
        assert "jones" not in text.lower()


def test_what_changed_is_pictured_before_and_now(visits):
    folder, now, images = visits
    found = compare(now, images, Earlier([folder / "first"]))
    (plate,) = pictured(now, images, found)
    said = [(figure.title, figure.caption.partition(",")[0]) for figure in plate.figures]
    assert len(said) == 8  # four lesions
    assert [title for title, _ in said if "WT A" in title] == ["WT A, before", "WT A, now"]
    assert ("WT B, now", "gone; resolved") in said
    assert ("WT C, before", "gone; new") in said
    assert not pictured(now, {}, found)


def test_three_visits_keep_their_names(visits):
    folder, now, images = visits
    found = compared(now, images, Earlier([folder / "second", folder / "first"], rule="rano"))
    assert [track["id"] for track in found["change"]["tracks"]] == ["WT A", "WT B", "WT C", "ET A"]
    states = {
        track["id"]: [state["state"] for state in track["states"]]
        for track in found["change"]["tracks"]
    }
    assert states["WT B"] == ["shown", "gone", "gone"]
    assert states["WT C"] == ["gone", "gone", "shown"]
    values = rows(found["response"], lesion=None)
    assert values["category, enhancing, by product"] == "PD"
    assert "RANO 2.0" in found["response"]["title"]
    assert any("non-enhancing" in note for note in found["response"]["notes"])


def test_what_a_person_told_counts(visits):
    folder, now, images = visits
    same = [folder / "second"]
    before = results.load(folder / "second" / "second.json")[0]
    steady = now.but(label=before.label)
    told = {"clinical": "stable", "steroids": "stable"}
    found = compared(steady, images, Earlier(same, "rano:enhancing=ET", told))["response"]
    assert rows(found, lesion=None)["category, enhancing, by product"] == "SD"
    worse = compared(steady, images, Earlier(same, "rano:enhancing=ET", {"clinical": "worse"}))
    assert rows(worse["response"], lesion=None)["category, enhancing, by product"] == "PD"
    changed = compared(steady, images, Earlier(same, "recist"))
    assert rows(changed["response"], lesion=None)["category"] == "SD"
    assert all("stable" in track["course"] for track in changed["change"]["tracks"])


@pytest.mark.parametrize(
    ("before", "after", "named", "grade"),
    [
        (20.0, 0.0, "complete resection", "1 or 2"),
        (20.0, 1.0, "near total resection", "2"),  # exactly 95% and 1 ml
        (19.0, 1.0, "subtotal resection", "2"),  # 94.7%
        (25.0, 5.0, "subtotal resection", "3"),  # exactly 80% and 5 ml
        (100.0, 5.1, "partial resection", "3"),  # 94.9%, but more than 5 ml
        (20.0, 4.1, "partial resection", "3"),  # 79.5%
        (20.0, 20.0, "no reduction, as after a biopsy", "4"),
        (0.5, 0.6, "no reduction, as after a biopsy", "4"),
    ],
)
def test_categories_of_resection(before, after, named, grade):
    assert resection.category(before, after) == named
    assert resection.rano_class(before, after) == grade


def test_supramaximal_resection_needs_to_know_what_does_not_enhance():
    assert resection.rano_class(20.0, 0.0, 5.0) == "1"
    assert resection.rano_class(20.0, 0.0, 5.1) == "2"


def test_extent_of_resection(visits):
    folder, _, _ = visits
    now, images = scan(folder, "operated", [(1, BIG), (2, (36, 50, 40, 2))])
    found = compared(now, images, Earlier([folder / "second"], resection=True))["resection"]
    values = rows(found, lesion=None)
    before, after = values["ET before surgery"], values["residual"]
    assert values["extent of resection"] == pytest.approx(100 * (before - after) / before)
    assert values["category (2021)"].startswith("subtotal")
    nothing, images = scan(folder, "cleared", [(1, BIG)])
    found = compared(nothing, images, Earlier([folder / "second"], resection=True))["resection"]
    assert rows(found, lesion=None)["extent of resection"] == 100
    assert any("supramaximal" in note for note in found["notes"])


def test_nothing_before_and_nothing_now_are_said(visits, tmp_path):
    folder, now, images = visits
    scan(tmp_path, "clear", [])
    found = compared(now, images, Earlier([tmp_path / "clear"], resection=True))
    assert {track["course"] for track in found["change"]["tracks"]} == {"new"}
    assert "relative change" not in rows(found["change"], region="WT")
    assert not found["resection"]["rows"]
    assert any(
        "Nothing was found in the scan of before" in note for note in found["change"]["notes"]
    )
    clear, images = scan(tmp_path, "cleared", [])
    found = compared(clear, images, Earlier([folder / "second"], "recist"))
    assert {track["course"] for track in found["change"]["tracks"]} == {"resolved"}
    assert rows(found["response"], lesion=None)["category"] == "CR"
    both = compared(clear, images, Earlier([tmp_path / "clear"], "recist"))
    assert both["change"]["tracks"] == []
    assert rows(both["response"], lesion=None)["category"] == "NE"


def test_a_tumour_cut_by_the_field_of_view_has_no_change(tmp_path):
    edge = [(2, (36, 50, 78, 8))]
    scan(tmp_path, "before", edge)
    now, images = scan(tmp_path, "now", [(2, (36, 50, 78, 10))])
    found = compared(now, images, Earlier([tmp_path / "before"], "recist", resection=True))
    row = rows(found["change"], lesion="WT 1")
    assert "cut by the edge" in row["course"]
    assert "change" not in row
    assert rows(found["response"], lesion=None)["category"] == "NE"
    assert any("cut by the edge" in note for note in found["resection"]["notes"])


def test_another_patient_is_refused(visits, tmp_path):
    _, now, images = visits
    scan(tmp_path, "other", [(1, BIG)], seed=9)
    with pytest.raises(BadData, match="of two patients does; give a prediction of the same"):
        compared(now, images, Earlier([tmp_path / "other"]))


def test_a_prior_that_is_missing_is_named(visits, tmp_path):
    folder, now, images = visits
    with pytest.raises(BadData, match=r"nowhere: is not there; run 'oncoseg predict'"):
        find(tmp_path / "nowhere", "now")
    with pytest.raises(BadData, match="holds no prediction; run"):
        find(tmp_path, "now")
    assert find(folder / "first", "now").name == "first.json"
    with pytest.raises(BadData, match=r"no prediction of case now, but of first"):
        find(folder / "first", "now", single=False)
    assert find(folder / "first" / "first.json", "now", single=False).name == "first.json"
    record = folder / "now" / "now.json"
    with pytest.raises(BadData, match="the very prediction"):
        compared(now, images, Earlier([record]), record=record)


def test_a_prior_of_another_task_is_refused(visits, tmp_path):
    _, now, images = visits
    task = dataclasses.replace(TASK, name="liver", labels={"L": 1}, regions={"L": ("L",)})
    scan(tmp_path, "liver", [(1, BIG)], task=task)
    with pytest.raises(BadData, match="has regions L of task liver, but case now WT, ET"):
        compared(now, images, Earlier([tmp_path / "liver"]))


def test_another_model_is_said(visits, tmp_path):
    _, now, images = visits
    scan(tmp_path, "old", [(1, BIG)], model={"name": "other", "sha256": "1"})
    notes = compared(now, images, Earlier([tmp_path / "old"]))["change"]["notes"]
    assert any("different models" in note for note in notes)


def test_a_prior_whose_scan_is_gone_is_refused(visits, tmp_path):
    _, now, images = visits
    prior, _ = scan(tmp_path, "moved", [(1, BIG)])
    prior.images["t1ce"].unlink()
    with pytest.raises(BadData, match=r"t1ce of moved cannot be read.*still where they were"):
        compared(now, images, Earlier([tmp_path / "moved"]))


def test_patients_and_days_are_those_of_dicom(tmp_path, visits):
    _, now, _ = visits

    def dicom(name, patient, day):
        file = tmp_path / f"{name}.dcm"
        file_of({"PatientID": patient, "StudyDate": day}, CTImageStorage).save_as(file)
        return now.but(case=name, images={"t1ce": file})

    first, later = dicom("first", "P1", "20240301"), dicom("later", "P1", "20240412")
    days = [one.day.isoformat() for one in same_patient(later, first)]
    assert days == ["2024-04-12", "2024-03-01"]
    with pytest.raises(BadData, match="prior later is 42 days later than case first"):
        same_patient(first, later)
    with pytest.raises(BadData, match="of two patients by their DICOM files") as caught:
        same_patient(later, dicom("other", "P2", "20240301"))
    assert "P2" not in str(caught.value)
    assert told(dicom("odd", "P1", "").images).day is None


def test_priors_come_in_order_of_their_days(visits):
    _, now, _ = visits
    one, two = Told("", dt.date(2024, 3, 1)), Told("", dt.date(2024, 1, 1))
    present = Told("", dt.date(2024, 4, 1))
    older, newer = now.but(case="older"), now.but(case="newer")
    ordered = _ordered([older, newer], [(present, two), (present, one)])
    assert [case.case for case in ordered[0]] == ["older", "newer"]
    assert ordered[1] == [91, 31]
    assert not ordered[2]
    kept = _ordered([newer, older], [(present, Told()), (present, Told())])
    assert [case.case for case in kept[0]] == ["older", "newer"]
    assert "the latest first" in kept[2][0]
    three = [older, newer, now]
    with pytest.raises(BadData, match="not in order"):
        _ordered(three, [(present, two), (present, Told()), (present, one)])


def test_flat_images_are_not_assessed():
    grid = Grid((20, 20), np.eye(3))
    task = dataclasses.replace(TASK, patch=(8, 8), spacing=(1.0, 1.0), strides=((2, 2),))
    label = np.zeros(grid.shape, np.uint8)
    flat = Prediction("flat", task, grid, label, np.zeros((0, 20, 20), np.float16), ("t1ce",))
    found = compared(flat, {}, Earlier())
    assert not found["change"]["rows"]
    assert any("two dimensions" in note for note in found["change"]["notes"])


def test_what_no_rule_asks_for_is_refused():
    with pytest.raises(BadRun, match="needs an earlier scan; give it with --prior"):
        Earlier(rule="recist").checked(1)
    with pytest.raises(BadOption, match="recist asks for nontarget, confirmed, not 'clinical'"):
        Earlier(["x"], "recist", {"clinical": "stable"}).checked(1)
    with pytest.raises(BadOption, match="better, stable, worse, not 'fine'"):
        Earlier(["x"], "rano", {"clinical": "fine"}).checked(1)
    with pytest.raises(BadOption, match="no rule asks for it"):
        Earlier(["x"], "", {"clinical": "stable"}).checked(1)
    with pytest.raises(UnknownName, match="did you mean rano"):
        Earlier(["x"], "ranno").checked(1)
