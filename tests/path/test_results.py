"""A prediction on disk is what was predicted, or is refused."""

import json

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grids import oriented
from oncoseg import results
from oncoseg.blocks.expected_dice import expected_dice
from oncoseg.case import Prediction, Task
from oncoseg.errors import BadData, BadFile

TASK = Task(
    "n",
    ("t1", "flair"),
    {"NCR": 1, "ED": 2, "ET": 4},
    {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
)
GRID = oriented((5, 6, 7), (1.0, 1.5, 3.0), (2, 0, 1), (1, -1, -1), tilt=0.2)


def prediction(**changes):
    rng = np.random.default_rng(0)
    return Prediction(
        case="patient é",
        task=TASK,
        grid=GRID,
        label=rng.choice([0, 1, 2, 4], GRID.shape).astype(np.uint8),
        probability=rng.random((3, *GRID.shape)).astype(np.float16),
        used=("t1",),
        missing=("flair",),
        images={"t1": results.Path("scans") / "t1.nii.gz"},
        model={"name": "m", "sha256": "0"},
        notes=("Segmented from t1 alone.",),
    ).but(**changes)


def test_what_was_saved_is_loaded(tmp_path):
    saved = prediction()
    path = results.save(saved, tmp_path / "out é")
    found, record = results.load(path)
    assert np.array_equal(found.label, saved.label)
    assert found.grid.same_as(saved.grid, 1e-4)
    for name in ("case", "task", "used", "missing", "images", "model", "notes"):
        assert getattr(found, name) == getattr(saved, name)
    assert found.probability.shape == (0, *GRID.shape)
    assert (found.intervals, found.level) == ({}, 0.0)
    assert (found.predicted_dice, found.samples) == ({}, 0)
    assert record["confidence"] == expected_dice(saved)
    assert results.find(path.parent) == {"patient é": path}
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "patient é.json",
        "patient é.nii.gz",
    ]


def test_intervals_are_kept_and_a_record_without_any_is_read(tmp_path):
    intervals = {"WT": (10.125, 14.9), "ET": (0.0, 2.5)}
    path = results.save(prediction(intervals=intervals, level=0.9), tmp_path)
    found, record = results.load(path)
    assert (found.intervals, found.level) == (intervals, 0.9)
    del record["intervals"], record["level"]
    path.write_text(json.dumps(record), encoding="utf-8")
    assert results.load(path)[0].intervals == {}


def test_probabilities_are_written_to_the_nearest_of_255_steps(tmp_path):
    saved = prediction()
    results.save(saved, tmp_path, probabilities=True)
    for name, expected in zip(TASK.regions, saved.probability):
        image = nibabel.load(tmp_path / f"patient é.probability.{name}.nii.gz")
        assert np.allclose(image.affine, GRID.affine, atol=1e-4)
        error = np.asarray(image.dataobj) / 255 - expected.astype(float)
        assert np.abs(error).max() <= 0.5 / 255 + 1e-6


def test_a_changed_label_map_is_refused(tmp_path):
    path = results.save(prediction(), tmp_path)
    label = path.with_suffix(".nii.gz")
    content = label.read_bytes()
    for changed in (content[:-1] + bytes([content[-1] ^ 1]), content[:50], b""):
        label.write_bytes(changed)
        with pytest.raises(BadFile, match=r"patient é\.nii\.gz: is not what was predicted"):
            results.load(path)
    label.unlink()
    with pytest.raises(BadData, match=r"patient é\.nii\.gz is missing"):
        results.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"task": None},
        {"task": {"name": "x"}},
        {"label": "../elsewhere.nii.gz"},
        {"label": 3},
        {"images": ["t1.nii.gz"]},
        {"used": None},
        {"label_sha256": None},
    ],
    ids=str,
)
def test_a_broken_record_is_one_sentence(tmp_path, change):
    path = results.save(prediction(), tmp_path)
    record = {**json.loads(path.read_text(encoding="utf-8")), **change}
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(BadFile, match="oncoseg predict") as caught:
        results.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["task", "label", "label_sha256", "used", "notes", "case"])
def test_a_record_with_a_field_less_is_refused(tmp_path, name):
    path = results.save(prediction(), tmp_path)
    record = json.loads(path.read_text(encoding="utf-8"))
    del record[name]
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(BadFile, match=rf"is not a whole record \(KeyError: '{name}'\)"):
        results.load(path)


def test_other_json_is_no_record(tmp_path):
    for name, text in {"list.json": "[]", "other.json": '{"format": "x"}'}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(BadFile, match="is no oncoseg-prediction-1 record"):
            results.load(tmp_path / name)
    assert results.find(tmp_path) == {}


@pytest.mark.parametrize("share", [0.5, 1])
def test_a_record_that_was_not_finished_is_none(tmp_path, share):
    whole = results.save(prediction(case="a"), tmp_path)
    record = results.save(prediction(case="b"), tmp_path)
    content = record.read_bytes()
    record.unlink()
    (tmp_path / ".0123456789ab.part.b.json").write_bytes(content[: int(len(content) * share)])
    assert results.find(tmp_path) == {"a": whole}


def test_a_record_that_is_no_json_is_not_lost(tmp_path):
    whole = results.save(prediction(case="a"), tmp_path)
    broken = results.save(prediction(case="b"), tmp_path)
    broken.write_text(broken.read_text(encoding="utf-8")[:90], encoding="utf-8")
    (tmp_path / "a.report.json").write_text("{", encoding="utf-8")
    assert results.find(tmp_path) == {"a": whole, "b": broken}
    with pytest.raises(BadFile, match=r"b\.json: is not valid JSON"):
        results.load(broken)


def test_two_records_of_one_case_are_refused(tmp_path):
    whole = results.save(prediction(case="a"), tmp_path)
    (tmp_path / "a (copy).json").write_bytes(whole.read_bytes())
    message = r"a \(copy\)\.json and a\.json are both records of case a; remove the one"
    with pytest.raises(BadData, match=message):
        results.find(tmp_path)


@pytest.mark.parametrize("fails", ["_record", "files.write_json"])
def test_a_prediction_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch, fails):
    def full(*options):
        raise BadFile("x", "could not be written (no space left)", "free some space")

    results.save(prediction(), tmp_path, probabilities=True)
    monkeypatch.setattr(f"oncoseg.results.{fails}", full)
    with pytest.raises(BadFile, match="no space left"):
        results.save(prediction(), tmp_path, probabilities=True)
    assert list(tmp_path.iterdir()) == []


def test_confidence_by_hand():
    task = Task("t", ("a",), {"x": 1}, {"x": ("x",)})
    grid = oriented((2, 2, 2), (1.0,) * 3, (0, 1, 2), (1, 1, 1))
    label = np.zeros((2, 2, 2), np.uint8)
    label[0, 0], label[0, 1, 0] = 1, 1
    chance = np.zeros((1, 2, 2, 2), np.float16)
    chance[0, 0, 0] = 1, 0.75
    chance[0, 0, 1] = 0.5, 0.25
    case = Prediction("c", task, grid, label, chance, ("a",))
    # inside the mask 1 + 0.75 + 0.5, in all 2.5, three voxels: 2 * 2.25 / (2.5 + 3)
    assert expected_dice(case) == {"x": round(4.5 / 5.5, 4)}
    sure = case.but(probability=(label == 1)[None].astype(np.float16))
    assert expected_dice(sure) == {"x": 1.0}
    wrong = case.but(probability=(label == 0)[None].astype(np.float16))
    assert expected_dice(wrong) == {"x": 0.0}
    empty = case.but(label=np.zeros_like(label), probability=np.zeros_like(chance))
    assert expected_dice(empty) == {"x": 1.0}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_confidence_is_a_share(seed):
    rng = np.random.default_rng(seed)
    chance = rng.random((3, *GRID.shape)).astype(np.float16)
    values = expected_dice(prediction(probability=chance)).values()
    assert all(0 <= value <= 1 for value in values)
