"""Check: everything that is wrong at once, with cause and remedy, and nothing that is right."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from oncoseg.__main__ import call
from oncoseg.case import Grid, Volume
from oncoseg.check import Seen, check
from oncoseg.check.across import volumes
from oncoseg.check.labels import odd_label
from oncoseg.write import write_volume

SHAPE = (12, 13, 11)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))


def image(seed, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(100, 20, SHAPE)).astype(np.float32)


def label(value=1):
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:7, 3:7, 3:7] = value
    return mask


def put(folder, case, seed=0, grid=GRID, **arrays):
    arrays = {"t1": image(seed), "t2": image(seed + 50), "seg": label(), **arrays}
    for name, array in arrays.items():
        if array is not None:
            write_volume(folder / case / f"{name}.nii.gz", array, grid)
    return folder / case


@pytest.fixture
def data(tmp_path):
    for number in range(4):
        put(tmp_path / "data", f"c{number}", number)
    return tmp_path / "data"


def told(data, **options):
    """(severity, kind, case, cause) of every problem but the notes on names."""
    return [
        (one.severity, one.kind, one.case, one.cause)
        for one in check(data, **options).problems
        if "no names" not in one.cause
    ]


def test_nothing_is_wrong_with_what_is_right(data):
    assert told(data) == []
    checked = check(data, labels={"tumour": 1})
    assert checked.errors == 0
    assert checked.table().endswith("nothing is wrong")
    assert [case.values for case in checked.cases] == [{1: 64}] * 4


def cut(folder):
    path = folder / "t1.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])


def nan(folder):
    import nibabel

    array = image(3)
    array[0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1, 2, 1])), folder / "t1.nii.gz")


def elsewhere(folder):
    other = Grid(SHAPE, GRID.affine + np.array([[0, 0, 0, 3.0]] + [[0] * 4] * 3))
    write_volume(folder / "seg.nii.gz", label(), other)


def replaced(**arrays):
    return lambda folder: put(folder.parent, "c1", 1, **arrays)


def removed(name):
    return lambda folder: (folder / f"{name}.nii.gz").unlink()


def specks():
    mask = label()
    mask[0, 0, 0] = mask[11, 12, 10] = 1
    return mask


@pytest.mark.parametrize(
    ("fault", "severity", "kind", "words"),
    [
        (cut, "error", "file", "truncated"),
        (nan, "error", "file", "NaN"),
        (elsewhere, "error", "file", "does not lie on its image"),
        (replaced(t1=np.full(SHAPE, 7, np.float32)), "error", "file", "7 in every voxel"),
        (replaced(seg=label(3)), "error", "file", "label 3, which is not in the scheme"),
        (replaced(t1=image(2)), "error", "twice", "same t1 image as that of case c1"),
        (removed("t2"), "warning", "modality", "lacks t2 of t1, t2"),
        (replaced(t2=image(1)), "warning", "twice", "is the same image as t1"),
        (replaced(seg=label(0)), "warning", "label", "is an empty label map"),
        (replaced(seg=specks()), "warning", "label", "2 of 3 pieces of fewer than 10 voxels"),
        (replaced(t1=image(1, 1e4)), "warning", "outlier", "odd brightness"),
        (
            replaced(grid=Grid(SHAPE, np.diag([1.0, 1.0, 9.0, 1.0]))),
            "warning",
            "outlier",
            "odd spacing",
        ),
    ],
)
def test_one_fault_is_told_once_with_its_case(data, fault, severity, kind, words):
    fault(data / "c1")
    found = [one for one in told(data, labels={"tumour": 1}) if words in one[3]]
    assert {one[:2] for one in found} == {(severity, kind)}
    assert {one[2] for one in found} <= {"c1", "c2"}
    assert check(data, labels={"tumour": 1}).errors == (severity == "error")


def test_every_problem_is_told_at_once(data):
    for fault in (cut, elsewhere, removed("t2")):
        fault(data / "c1")
    put(data, "c2", 2, seg=label(9))
    shutil.copy(data / "c0" / "t1.nii.gz", data / "c3" / "t1.nii.gz")
    checked = check(data, labels={"tumour": 1})
    assert [(one.kind, one.case) for one in checked.problems if one.severity == "error"] == [
        ("file", "c1"),
        ("file", "c2"),
        ("twice", "c3"),
    ]
    assert checked.errors == 3


def test_a_layout_that_contradicts_itself_does_not_hide_broken_files(data):
    cut(data / "c1")
    write_volume(data / "c2" / "t1w.nii.gz", image(9), GRID)
    causes = [one.cause for one in check(data).problems]
    assert any("which both mean t1" in cause or "too as its t1" in cause for cause in causes)
    assert any("truncated" in cause for cause in causes)


def test_scans_of_no_case_and_visits_of_one_patient_are_notes(data):
    put(data, "sub-01_ses-1", 11)
    put(data, "sub-01_ses-2", 12)
    (data / "c0" / "old.mgz").write_bytes(b"")
    (data / "c0" / ".DS_Store").write_bytes(b"")
    notes = {one.kind: one.cause for one in check(data, labels={"tumour": 1}).problems}
    assert notes["patient"] == "has 2 cases: sub-01_ses-1, sub-01_ses-2"
    assert notes["unused"] == "1 scans in it belong to no case: old.mgz"


def test_ct_without_air_is_hardly_in_hu(tmp_path):
    put(tmp_path, "a", t1=None, t2=None, ct=image(0))
    put(tmp_path, "b", t1=None, t2=None, ct=image(1) - 1000)
    assert [(one[1], one[2]) for one in told(tmp_path)] == [("intensity", "a")]


def test_pet_in_becquerels_is_hardly_suv(tmp_path):
    put(tmp_path, "a", t1=None, t2=None, pet=np.abs(image(0)) * 100)
    put(tmp_path, "b", t1=None, t2=None, pet=np.abs(image(1)) / 10)
    assert [(one[1], one[2]) for one in told(tmp_path)] == [("intensity", "a")]


def test_a_label_that_no_case_has_is_told(data):
    assert ("warning", "label", "", "no case has the label core") in told(
        data, labels={"tumour": 1, "core": 2}
    )


def test_the_command_prints_and_writes_it_and_fails_on_errors(data, tmp_path, capsys):
    assert call(["check", str(data), "--labels", "tumour=1"]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    cut(data / "c1")
    assert call(["check", str(data), "--json", "--to", str(tmp_path / "a.json")]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert printed["counts"] == {"error": 1, "warning": 0, "note": 1}
    assert printed["problems"][0]["remedy"] == "copy or download it again"
    call(["check", str(data)])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("error"))
    assert row.split()[1:3] == ["c1", "t1.nii.gz:"]


@pytest.mark.data
def test_real_cases_have_no_error(data, repo):
    folder = repo.parent / "shared" / "data" / "open_ms"
    if not folder.is_dir():
        pytest.skip(f"needs real scans in {folder}, which is not here")
    checked = check(folder)
    assert checked.errors == 0
    assert [one.kind for one in checked.problems if one.severity == "warning"] == ["label"]


def ball(radius, hole=()):
    label = np.zeros((24, 24, 24), np.uint8)
    place = np.stack(np.indices(label.shape)) - 12
    label[(place**2).sum(0) <= radius**2] = 1
    label[hole] = 0 if hole else label[hole]
    return label


def test_pinholes_are_told_and_cavities_are_not():
    grid = Grid((24, 24, 24), np.eye(4))

    def causes(label):
        volume = Volume(label, grid, Path("l.nii"))
        return [one.cause for one in odd_label("c", volume, "mr", None, 10)]

    assert causes(ball(6)) == []
    assert causes(ball(6, np.s_[12, 12, 12])) == ["has 1 hole of fewer than 10 voxels"]
    assert causes(ball(8, np.s_[10:14, 10:14, 10:14])) == []  # as a necrosis is left out


def test_a_label_in_the_air_is_told():
    grid = Grid((24, 24, 24), np.eye(4))
    air = Volume(ball(4)[::-1], grid, Path("l.nii"))
    rng = np.random.default_rng(0)
    scan = np.full((24, 24, 24), -1000.0)
    scan[2:22, 2:22, 2:22] = 40
    scan[4:20, 4:20, :] = -800  # lungs, open at both ends of the scan
    scan += rng.normal(0, 10, scan.shape)
    assert odd_label("c", air, "ct", Volume(scan, grid, Path("i")), 10) == []
    moved = Volume(np.roll(scan, 14, axis=0), grid, Path("i"))
    moved.array[:12] = -1000
    found = [one.cause for one in odd_label("c", air, "ct", moved, 10)]
    assert found == ["lies outside the body in more than a tenth of its voxels"]
    stripped = np.zeros((24, 24, 24))
    stripped[:6] = rng.random((6, 24, 24)) + 1
    assert len(odd_label("c", air, "t1", Volume(stripped, grid, Path("i")), 10)) == 1


def test_a_volume_far_from_the_others_is_told():
    sizes = [900.0, 1000, 1100, 800, 1500, 1200, 700, 950, 9.0]
    cases = [Seen(str(at), str(at), "", (), {1: 5}, (), {1: size}) for at, size in enumerate(sizes)]
    told = volumes(cases, {"tumour": 1, "ignore": 255})
    assert [(one.case, one.cause.partition(":")[0]) for one in told] == [
        ("8", "has an odd volume of tumour")
    ]
    assert [one.case for one in volumes(cases, None)] == ["8"]
    assert volumes(cases[2:], None) == []
