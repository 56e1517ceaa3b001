"""Comparisons beyond one truth: several raters, missing modalities, models and what they cost."""

import json
from dataclasses import replace

import numpy as np
import pytest

from contests import GRID, SHAPE, folder, label
from oncoseg import Grid, Prediction, Task, files, results
from oncoseg.__main__ import call
from oncoseg.compare import compare
from oncoseg.compare.benchmark import u_scores
from oncoseg.compare.budget import advised, front
from oncoseg.compare.conditions import expected, scenarios
from oncoseg.compare.told import costs
from oncoseg.errors import BadData, BadFile, BadOption
from oncoseg.evaluate.curvas import crps, curvas
from oncoseg.read import read_volume
from oncoseg.write import write_volume

CASES = [f"p{number}" for number in range(6)]


def claims(where, maps):
    """Label maps, and half as sure as can be of what they hold."""
    folder(where, maps)
    for case, one in maps.items():
        sure = np.where(one > 0, 0.75, 0.25).astype(np.float32)
        write_volume(where / f"{case}.probability.1.nii.gz", sure, GRID)
    return where


@pytest.fixture
def rated(tmp_path):
    """Three raters a voxel apart, one who draws as the second, and one who is two off."""
    raters = tmp_path / "raters"
    for number in range(3):
        folder(raters / f"rater{number + 1}", dict.fromkeys(CASES, label(2 + number)))
    near = claims(tmp_path / "near", dict.fromkeys(CASES, label(3)))
    far = claims(tmp_path / "far", dict.fromkeys(CASES, label(5)))
    return [near, far], raters


def test_scores_of_several_raters_are_those_of_curvas(rated, tmp_path):
    two, raters = rated
    found = compare(two, raters, protocol="curvas", samples=20, to=tmp_path / "out")
    masks = np.stack([label(2 + number) > 0 for number in range(3)])
    sure = np.where(label(5) > 0, 0.75, 0.25).astype(np.float32)
    expected_of = curvas(label(5) > 0, sure, masks, GRID.voxel_volume / 1000)
    means = {metric: found.summary("far", "1", metric).mean for _, metric in found.table.measures}
    assert means["consensus_dice"] == pytest.approx(expected_of.consensus_dice)
    assert means["confidence"] == pytest.approx(expected_of.confidence)
    assert means["crps"] == pytest.approx(expected_of.crps_ml)
    # Of those sure to 3/4, 1 - (1 - 3/4) - ... : the mean over raters of |right - 0.75|.
    right = [np.mean((label(5) > 0) == mask) for mask in masks]
    assert means["ece:bins=50,margin_mm=inf"] == pytest.approx(
        np.mean(np.abs(np.array(right) - 0.75))
    )
    assert found.standings[0].algorithm == "near"
    html = (tmp_path / "out" / "comparison.html").read_text("utf-8")
    assert "How far the raters agree" in html
    assert "raters (white)" in html
    # Dice of two raters: twice 5/6 (one voxel apart) and once 4/6.
    assert found.extras[0].rows[0][2].startswith(f"{(5 / 6 + 5 / 6 + 4 / 6) / 3:.3f}")


def test_a_lost_case_is_the_worst_for_all_raters(rated):
    two, raters = rated
    for path in two[0].glob("p0.*"):
        path.unlink()
    found = compare(two, raters, protocol="curvas", samples=20)
    lost = {m: found.table.values[0, k, 0] for k, (_, m) in enumerate(found.table.measures)}
    assert lost["consensus_dice"] == lost["confidence"] == 0
    assert lost["ece:bins=50,margin_mm=inf"] == 1
    voxel, each = GRID.voxel_volume / 1000, 6 * 4 * 4
    assert lost["crps"] == pytest.approx(crps(np.prod(SHAPE) * voxel, each * voxel, 0.0))
    assert found.standings[0].missing + found.standings[1].missing == 1


def test_raters_that_cannot_be_compared_with_are_refused(rated, tmp_path):
    two, raters = rated
    with pytest.raises(BadData, match="holds 0 folders of label maps; give a folder with one for"):
        compare(two, raters / "rater1", protocol="curvas")
    (raters / "rater2" / "p3.nii.gz").unlink()
    found = compare(two, raters, protocol="curvas", samples=20)
    assert "1 cases were not drawn by all 3 raters: p3." in found.notes
    (two[1] / "p3.probability.1.nii.gz").unlink()
    with pytest.raises(BadData, match=r"p3\.probability\.1\.nii\.gz: is not there, but ece"):
        compare(two, raters, protocol="curvas", samples=20)


def test_weights_of_sets_of_modalities():
    """Of two modalities: both there (1 - p)^2, one missing p (1 - p); both missing is no set."""
    names = ["full", "missing-a", "missing-b"]
    weights = expected(names, 2, 0.2)
    assert weights == pytest.approx({"full": 0.64 / 0.96, "missing-a": 1 / 6, "missing-b": 1 / 6})
    assert expected(names, 2, 0.5) == pytest.approx(dict.fromkeys(names, 1 / 3))
    assert expected(names, 2, 1e-9)["full"] == pytest.approx(1)
    found = {
        one.name: one.weights
        for one in scenarios([*names, "random25-a", "noise-low", "noise-high"], frozenset("ab"))
    }
    assert found.keys() == {"full", "emm_avg", "emm_e", "rmm25_avg", "rmm25_e", "nm"}
    assert found["emm_avg"] == pytest.approx(dict.fromkeys(names, 1 / 3))
    assert found["rmm25_avg"] == {"full": 0.5, "random25-a": 0.5}
    assert found["nm"] == {"noise-low": 0.5, "noise-high": 0.5}


def under(where, starts):
    for name, start in starts.items():
        folder(where / name, dict.fromkeys(CASES, label(start)))
    return where


def test_robustness_is_the_mean_over_conditions(tmp_path):
    """One falls by a voxel without a, the other by two, and has nothing at all without b."""
    truth = folder(tmp_path / "truth", dict.fromkeys(CASES, label()))
    one = under(tmp_path / "one", {"full": 2, "missing-a": 3, "missing-b": 2, "noise-low": 3})
    other = under(tmp_path / "other", {"full": 2, "missing-a": 4, "noise-low": 2})
    found = compare(
        [one, other],
        truth,
        protocol="mmss_robustness",
        metrics=("dice",),
        samples=20,
        to=tmp_path / "out",
    )
    assert found.summary("one", "1", "full dice").mean == 1
    assert found.summary("one", "1", "emm_avg dice").mean == pytest.approx((1 + 5 / 6 + 1) / 3)
    assert found.summary("other", "1", "emm_avg dice").mean == pytest.approx((1 + 4 / 6 + 0) / 3)
    assert found.summary("one", "1", "nm dice").mean == pytest.approx(5 / 6)
    weighed = (0.81 * 1 + 0.09 * 5 / 6 + 0.09 * 1) / 0.99
    assert found.summary("one", "1", "emm_e dice").mean == pytest.approx(weighed)
    assert ("1", "full dice") not in found.ranked
    assert any(note.startswith("other: No prediction under missing-b") for note in found.notes)
    rows = {row[0]: row[1:] for row in found.extras[0].rows}
    assert rows["without a"] == ("0.833 (\N{MINUS SIGN}17%)", "0.667 (\N{MINUS SIGN}33%)")
    assert "What each condition costs" in (tmp_path / "out" / "comparison.html").read_text("utf-8")


def test_a_condition_is_what_its_name_says(tmp_path):
    truth = folder(tmp_path / "truth", dict.fromkeys(CASES, label()))
    one = under(tmp_path / "one", {"full": 2, "missing-t1": 3})
    other = under(tmp_path / "other", {"full": 2})
    task = Task("toy", ("t1", "t2"), {"a": 1}, {"a": ("a",)})
    empty = np.zeros((1, *SHAPE), np.float16)
    results.save(Prediction("p0", task, GRID, label(), empty, ("t1",)), other / "missing-t1")
    with pytest.raises(BadData, match="was predicted with t1, but its folder is named missing-t1"):
        compare([one, other], truth, protocol="mmss_robustness")
    (one / "missing-t1").rename(one / "no_t1")
    with pytest.raises(BadData, match="no_t1: is no condition; name such folders as full, missing"):
        compare([one, other], truth, protocol="mmss_robustness")
    (other / "full").rename(other / "missing-t2")
    with pytest.raises(BadData, match="has no folder 'full'"):
        compare([other, one], truth, protocol="mmss_robustness")


def test_damaged_scans_are_what_their_folders_say(tmp_path):
    """Head of 50 +- 10 in a background of 0; three modalities: 6 sets, twice, noise, and all."""
    rng = np.random.default_rng(0)
    shape = (40, 40, 40)
    head = np.zeros(shape, np.int16)
    head[10:30, 10:30, 10:30] = rng.normal(500, 100, (20, 20, 20)).clip(1)
    grid = Grid(shape, np.eye(4))
    for word in ("t1", "t2", "flair"):
        write_volume(tmp_path / "scans" / "p0" / f"p0_{word}.nii.gz", head, grid)
    assert call(["damage", str(tmp_path / "scans"), "--to", str(tmp_path / "out")]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert len(names) == 1 + 6 + 6 + 3

    def read(name, word="t1"):
        path = tmp_path / "out" / name / "p0" / f"p0_{word}.nii.gz"
        return read_volume(path).array if path.exists() else None

    assert read("missing-flair+t1") is None
    assert np.array_equal(read("missing-flair+t1", "t2"), head)
    inside = head > 0
    lost = read("random25-t1")
    assert np.array_equal(lost[lost != 0], head[lost != 0])
    assert abs((lost[inside] == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / inside.sum())
    assert np.array_equal(read("random25-t1", "t2"), head)
    apart = []
    for level in ("low", "middle", "high"):
        found = read(f"noise-{level}")
        assert (found[~inside] == 0).all()
        assert found.dtype == head.dtype
        apart.append(np.abs(found[inside].astype(float) - head[inside]).mean())
    assert apart == sorted(apart)
    assert not np.array_equal(read("noise-low", "t2"), read("noise-low"))
    write_volume(tmp_path / "out" / "missing-flair" / "p0" / "p0_t1.nii.gz", lost, grid)
    original = tmp_path / "scans" / "p0" / "p0_t1.nii.gz"
    assert np.array_equal(read_volume(original).array, head)
    assert original.stat().st_nlink == 1


def test_the_u_score_grows_with_each_of_its_parts():
    accuracy = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    cost = np.array([[1e6, 1e9]] * 5) * np.array([5, 2, 3, 4, 1])[:, None]
    scores = u_scores(accuracy, cost)
    assert scores.argmax() == 4
    assert scores[4] == 1
    assert scores[0] == 0  # the least accurate and the dearest
    assert u_scores(accuracy, cost * 1e3) == pytest.approx(scores)  # whatever the unit
    better = u_scores(accuracy + 0.05 * (np.arange(5) == 1), cost)
    assert better[1] > scores[1]
    cheaper = cost.copy()
    cheaper[2] /= 1.3
    assert u_scores(accuracy, cheaper)[2] > scores[2]
    assert np.isnan(u_scores(accuracy, np.zeros((5, 0)))).all()
    assert np.isnan(u_scores(accuracy[:4], cost[:4])).all()


@pytest.fixture
def priced(tmp_path):
    """`slow` is the truth, `quick` off by one, `poor` off by two and as dear as `slow`."""
    truth = folder(tmp_path / "truth", dict.fromkeys([*CASES, "q0", "q1"], label()))
    for name, start, seconds in (("quick", 3, 1.0), ("slow", 2, 9.0), ("poor", 4, 9.0)):
        folder(tmp_path / name, dict.fromkeys([*CASES, "q0", "q1"], label(start)))
        files.write_json(tmp_path / name / "costs.json", {"seconds": seconds, "flops": 1e9})
    return [tmp_path / name for name in ("quick", "slow", "poor")], truth


def test_known_and_unseen_data_sets_stand_apart(priced, tmp_path):
    three, truth = priced
    write_volume(three[1] / "q0.nii.gz", label(5), GRID)
    groups = tmp_path / "sets.csv"
    rows = [*(f"{case},ours,no" for case in CASES), "q0,theirs,yes", "q1,others,yes"]
    groups.write_text("case,data,zero_shot\n" + "\n".join(rows), encoding="utf-8")
    found = compare(three, truth, protocol="ubench", groups=groups, samples=50, to=tmp_path / "out")
    known, unseen = found.extras
    assert known.heading == "Data sets that were learned from"
    assert known.rows[1][:2] == ("slow", "1.000")
    assert known.rows[0][2:4] == ("-", "-")  # the first is what the others are compared with
    assert unseen.rows[1][1] == f"{(1 + 3 / 9) / 2:.3f}"
    assert {one.column for one in found.groups} == {"data"}
    # Of three data sets with the same weight: 1, 1/3 and 1, where cases alone give 7.33 of 8.
    assert found.protocol.aggregation == "groups"
    data = json.loads((tmp_path / "out" / "comparison.json").read_text("utf-8"))
    assert [one["heading"] for one in data["tables"]] == [known.heading, unseen.heading]
    groups.write_text("case,data,zero_shot\np0,ours,perhaps\n", encoding="utf-8")
    with pytest.raises(BadData, match="case p0: its zero_shot is 'perhaps' in the file of groups"):
        compare(three, truth, protocol="ubench", groups=groups, samples=50)


def test_the_budget_decides_where_what_costs_more_is_better(priced, tmp_path):
    three, truth = priced
    found = compare(three, truth, metrics=("dice",), samples=50, to=tmp_path / "out")
    assert [one.algorithm for one in front(found, "seconds")] == ["quick", "slow"]
    assert advised(found, "seconds").startswith("quick below 9 s; slow from there (significantly")
    assert advised(found, "flops") == "slow: none that costs more ranks better."
    assert advised(found, "peak_mb") == ""
    similar = replace(found, costs={"quick": {"seconds": 8.5}, "slow": {"seconds": 9.0}})
    assert [one.algorithm for one in front(similar, "seconds")] == ["slow"]
    html = (tmp_path / "out" / "comparison.html").read_text("utf-8")
    assert "Which one for which budget" in html
    assert "not known" not in html


def test_costs_are_those_of_records_models_and_what_a_folder_states(tmp_path):
    model = {"name": "m", "parameters": "1400000", "flops": "much"}
    record = {"format": results.FORMAT, "seconds": 2.0, "model": model}
    files.write_json(tmp_path / "a" / "p0.json", record)
    files.write_json(tmp_path / "a" / "p1.json", {**record, "seconds": 4.0})
    assert costs({"a": tmp_path / "a"}) == {"a": {"seconds": 3.0, "parameters": 1.4e6}}
    files.write_json(tmp_path / "a" / "costs.json", {"flops": 2e9, "seconds": 1})
    assert costs({"a": tmp_path / "a"})["a"] == {"seconds": 1, "parameters": 1.4e6, "flops": 2e9}
    for wrong in ({"hours": 1}, {"seconds": -1}, {"seconds": "2"}, [1]):
        files.write_json(tmp_path / "a" / "costs.json", wrong)
        with pytest.raises(BadFile, match="states no costs; give numbers above 0 by name"):
            costs({"a": tmp_path / "a"})


def test_the_command_line_knows_the_protocols(rated, capsys):
    two, raters = rated
    words = ["compare", *map(str, two), "--reference", str(raters), "--protocol", "curvas"]
    assert call([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["protocol"]["setting"] == "raters"
    assert data["tables"][0]["heading"] == "How far the raters agree"


def test_some_cases_alone_are_compared_where_they_are_named(tmp_path):
    truth = folder(tmp_path / "truth", {case: label(2, 4) for case in ("a", "b", "c")})
    near = folder(tmp_path / "near", {"a": label(2, 4)})
    far = folder(tmp_path / "far", {"a": label(4, 4)})
    all_of_them = compare([near, far], truth, metrics=("dice",), samples=0)
    assert all_of_them.summary("near", "1", "dice").mean == pytest.approx(1 / 3)
    one = compare([near, far], truth, metrics=("dice",), samples=0, cases=["a"])
    assert one.summary("near", "1", "dice").mean == 1
    assert one.table.cases == ("a",)
    assert not any("lacks" in note or "No algorithm" in note for note in one.notes)
    with pytest.raises(BadOption, match="takes all cases; leave out --cases"):
        compare([near, far], truth, protocol="curvas", cases=["a"])
