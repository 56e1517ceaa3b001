"""What was written is read back, whole or in part; a patient is on one side of a split."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from oncoseg.case import Grid, Task
from oncoseg.errors import BadData, BadFile
from oncoseg.prepare import held_out
from oncoseg.prepare.align import Aligned
from oncoseg.prepare.store import POINTS, Stored, open_store, splits, write

TASK = Task("t", ("a", "b"), {"x": 1, "y": 2}, {"x": ("x",), "y": ("y",)})
SHAPE = (70, 33, 40)  # longer and shorter than a chunk, no multiple of a block


def aligned(seed=0, shape=SHAPE, labeled=True):
    rng = np.random.default_rng(seed)
    return Aligned(
        rng.normal(size=(2, *shape)).astype(np.float16).astype(np.float32),
        rng.random((2, *shape)) < 0.7,
        rng.integers(0, 256, (3, *shape), dtype=np.uint8),
        Grid(shape, np.eye(len(shape) + 1)),
        labeled,
    )


def record(name):
    return {"case": name, "patient": name, "site": "", "modalities": ["a"]}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    content = aligned()
    folder = tmp_path_factory.mktemp("état 1") / "c"
    write(folder, content, TASK, record("c"), seed=0)
    return content, open_store(folder.parent)[0]


def test_what_was_written_is_read_back(stored):
    content, case = stored
    assert case.id == case.patient == "c"
    assert case.shape == SHAPE
    assert case.labeled
    for name in ("image", "present", "label"):
        assert np.array_equal(case.read(name), getattr(content, name))
        assert (
            case.read(name).dtype == {"image": np.float16, "present": bool, "label": np.uint8}[name]
        )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_patch_is_the_slice_of_the_whole(stored, data):
    content, case = stored
    box = []
    for size in SHAPE:
        first = data.draw(st.integers(0, size - 1))
        box.append(slice(first, data.draw(st.integers(first + 1, size))))
    for name in ("image", "present", "label"):
        assert np.array_equal(
            case.read(name, tuple(box)), getattr(content, name)[(slice(None), *box)]
        )


def test_points_lie_in_their_region_and_are_thinned_evenly(tmp_path):
    content = aligned()
    content.label[1:, :, ::2] = 255  # in one piece, without a voxel that stands alone
    content.label[1:, :, 1::2] //= 3
    content.label[1:, 0] = 255
    case = write(tmp_path / "c", content, TASK, record("c"), seed=0)
    for row, name in enumerate(("x", "y"), start=1):
        points = case.points[name]
        assert points.shape == (POINTS, 3)
        assert len(np.unique(points, axis=0)) == POINTS
        assert (content.label[row][tuple(points.T)] > 127).all()
        assert points.mean(0) == pytest.approx((np.array(SHAPE) - 1) / 2, rel=0.05)


def test_every_point_of_a_small_region_and_none_of_an_empty_one(tmp_path):
    content = aligned(shape=(9, 8, 7))
    content.label[1:] = 0
    content.label[2, 3:5, 2, 6] = 255
    content.label[1, 0, 0, 0] = 127  # less than half in the region
    case = write(tmp_path / "c", content, TASK, record("c"), seed=0)
    assert case.points["y"].tolist() == [[3, 2, 6], [4, 2, 6]]
    assert len(case.points["x"]) == 0


def test_a_case_that_was_cut_off_is_not_there(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, aligned(shape=(4, 5, 6)), TASK, record(name), seed=0)
    (tmp_path / "a" / "case.json").unlink()
    assert [case.id for case in open_store(tmp_path)] == ["b"]
    (tmp_path / "b" / "case.json").unlink()
    with pytest.raises(BadData, match="holds no prepared cases; run 'oncoseg prepare' first"):
        open_store(tmp_path)


def test_what_half_floats_cannot_hold_is_refused(tmp_path):
    content = aligned(shape=(8, 8, 8))
    content.image[0, 0, 0, 0] = 1e5
    with pytest.raises(BadData, match=r"case c has intensities .* \(above 65504\)"):
        write(tmp_path / "c", content, TASK, record("c"), seed=0)


def test_while_a_case_is_written_again_it_is_not_there(tmp_path, monkeypatch):
    write(tmp_path / "a", aligned(shape=(4, 5, 6)), TASK, record("a"), seed=0)

    def full(*options):
        raise BadFile("case.json", "could not be written (no space left)", "free some space")

    monkeypatch.setattr("oncoseg.prepare.store.files.write_text", full)
    with pytest.raises(BadFile):
        write(tmp_path / "a", aligned(1, (4, 5, 6)), TASK, record("a"), seed=0)
    with pytest.raises(BadData, match="holds no prepared cases"):
        open_store(tmp_path)


def case_of(number, patient, labeled=True):
    facts = {"case": f"c{number}", "patient": f"p{patient}", "labeled": labeled, "site": ""}
    return Stored(None, facts)


OWNERS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=25)


@settings(max_examples=100, deadline=None)
@given(OWNERS, st.integers(1, 6), st.integers(0, 9))
def test_folds_cover_the_labelled_cases_once_and_cut_through_no_patient(owners, folds, seed):
    cases = [case_of(number, *owner) for number, owner in enumerate(owners)]
    labelled = [case for case in cases if case.labeled]
    patients = {case.patient for case in labelled}
    if folds > len(patients):
        with pytest.raises(BadData, match=f"{folds} folds need as many .* are {len(patients)};"):
            splits(cases, folds, seed)
        return
    found = splits(cases, folds, seed)
    assert found == splits(cases, folds, seed)
    assert sorted(name for fold in found for name in fold) == sorted(case.id for case in labelled)
    owner = {case.id: case.patient for case in cases}
    sides = [{owner[name] for name in fold} for fold in found]
    assert all(sides)
    assert not any(one & other for one, other in combinations(sides, 2))
    assert max(map(len, sides)) - min(map(len, sides)) <= 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=12),
    st.integers(0, 1),
)
@example([(0, True), (0, False), (1, True)], 0)
@example([(0, True), (0, False), (1, True)], 1)
def test_no_scan_of_a_held_out_patient_is_trained_on(owners, fold):
    cases = [case_of(number, *owner) for number, owner in enumerate(owners)]
    patients = sorted({case.patient for case in cases if case.labeled})
    assume(len(patients) > 1)
    for hold in ((), patients[:1]):
        train, held = held_out(cases, 2, fold, hold)
        apart = {case.patient for case in held}
        assert [case for case in cases if case.patient not in apart] == train
        if hold:
            assert held == [case for case in cases if case.patient == hold[0]]
        else:
            assert [case.id for case in held] == splits(cases, 2)[fold]


def test_one_fold_holds_none_out_and_strangers_are_refused():
    cases = [case_of(0, 0), case_of(1, 1)]
    assert held_out(cases, 1, 0) == (cases, [])
    with pytest.raises(BadData, match="no patient 'q' to hold out; there are p0, p1"):
        held_out(cases, 1, 0, ["q"])


def test_half_of_the_points_are_shared_by_lesions_however_small(tmp_path):
    content = aligned(shape=(40, 40, 40))
    content.label[1:] = 0
    content.label[1, :20, :20, :20] = 255
    content.label[1, 30, 30, 30], content.label[1, 35:37, 35:37, 35] = 255, 255
    case = write(tmp_path / "c", content, TASK, record("c"), seed=0)
    points = case.points["x"]
    assert len(points) == POINTS
    assert (content.label[1][tuple(points.T)] == 255).all()
    one, two = (points == 30).all(1).mean(), (points >= 35).all(1).mean()
    assert one == pytest.approx(1 / 6, abs=0.01)  # half of a third; by volume it were 0.0001
    assert two == pytest.approx(1 / 6, abs=0.01)
