"""Comparison: who is compared, what is refused, what is ranked, what stands on the page."""

import csv
import json
import re

import numpy as np
import pytest

from contests import GRID, SHAPE, folder, label
from oncoseg import Prediction, Task, files, registry, results
from oncoseg.__main__ import call
from oncoseg.blocks import statistics
from oncoseg.compare import compare, names, read_protocol
from oncoseg.errors import BadData, BadFile, BadOption, UnknownName
from oncoseg.evaluate import evaluate
from oncoseg.evaluate.rated import SCORES
from oncoseg.write import write_volume

CASES = [f"p{number:02d}" for number in range(10)]
GOOD, FAIR, BAD = "göod & 'b'", "fair", "bad"


def sizes(seed):
    return dict(zip(CASES, np.random.default_rng(seed).integers(4, 8, len(CASES)).tolist()))


@pytest.fixture
def world(tmp_path):
    """`good` is the truth but for every third case, `fair` is off by one voxel, `bad` by two."""
    long = sizes(0)
    truth = folder(tmp_path / "truth", {case: label(2, long[case]) for case in CASES})
    shift = {GOOD: lambda number: int(number % 3 == 0), FAIR: lambda _: 1, BAD: lambda _: 2}
    folders = [
        folder(
            tmp_path / name,
            {case: label(2 + by(number), long[case]) for number, case in enumerate(CASES)},
        )
        for name, by in shift.items()
    ]
    return folders, truth


def pair(comparison, one, other, metric="dice"):
    wanted = (one, other, metric)
    return next(p for p in comparison.pairs if (p.first, p.second, p.metric) == wanted)


def test_the_better_one_is_first_by_every_scheme(world, tmp_path):
    for scheme in ("rank-then-aggregate", "aggregate-then-rank", "significance"):
        own = tmp_path / f"{scheme}.toml"
        own.write_text(
            f'metrics = ["dice", "hd95"]\nscheme = "{scheme}"\n[card]\ntitle = "a"\nyear = 2026\n',
            encoding="utf-8",
        )
        found = compare(*world, protocol=str(own), samples=100)
        assert [one.algorithm for one in found.standings] == [GOOD, FAIR, BAD]
        assert [one.rank for one in found.standings] == [1, 2, 3]
        assert found.tau[0] > 0.9


def test_values_are_those_of_evaluate_and_tests_those_of_the_differences(world):
    folders, truth = world
    found = compare(folders, truth, metrics=("dice",), samples=200)
    alone = evaluate(folders[0], truth, metrics=("dice",), samples=200)
    assert found.summary(GOOD, "1", "dice") == alone.summary[0]
    apart = found.table.values[0, 0] - found.table.values[1, 0]
    two = pair(found, GOOD, FAIR)
    assert two.difference == pytest.approx(apart.mean())
    assert two.p == statistics.wilcoxon(apart)
    assert (two.low, two.high) == statistics.interval(apart, CASES, samples=200, seed=0)
    # Four of ten cases are equal: six patients differ, all in one direction.
    assert two.p == pytest.approx(2 / 2**6)
    assert two.effect == 1
    assert [one.holm for one in found.pairs] == statistics.holm([one.p for one in found.pairs])


def test_lower_is_better_where_it_is(world):
    found = compare(*world, metrics=("hd95",), samples=100)
    two = pair(found, GOOD, BAD, "hd95")
    assert two.difference < 0 < two.effect
    assert two.better == GOOD


def test_the_first_in_all_cases_may_be_the_last_in_the_mean(tmp_path):
    """Ranking by case and ranking by means answer different questions."""
    truth = folder(tmp_path / "truth", {case: label() for case in CASES[:5]})
    steady = folder(tmp_path / "steady", {case: label(3) for case in CASES[:5]})
    wild = {case: label() for case in CASES[:4]} | {CASES[4]: np.zeros(SHAPE, np.uint8)}
    two = [steady, folder(tmp_path / "wild", wild)]
    by_case = compare(two, truth, metrics=("dice",), samples=50)
    assert by_case.standings[0].algorithm == "wild"
    # 5/6 in each case against 1 in four and 0 in one: means 0.833 and 0.8.
    own = tmp_path / "means.toml"
    own.write_text(
        'metrics = ["dice"]\nscheme = "aggregate-then-rank"\n[card]\ntitle = "own"\nyear = 2026\n',
        encoding="utf-8",
    )
    assert compare(two, truth, protocol=str(own), samples=50).standings[0].algorithm == "steady"


def test_a_lost_case_is_named_and_never_a_gain(world):
    folders, truth = world
    before = compare(folders, truth, metrics=("dice",), samples=50)
    (folders[0] / "p00.nii.gz").unlink()
    (folders[1] / "p01.nii.gz").write_bytes(b"no scan")
    found = compare(folders, truth, metrics=("dice",), samples=50)
    assert f"{GOOD} lacks 1 case (p00), counted as the worst value." in found.notes
    assert any(note.startswith("fair lacks 1 case (p01)") for note in found.notes)
    assert found.table.values[0, 0, 0] == 0
    assert found.summary(GOOD, "1", "dice").mean < before.summary(GOOD, "1", "dice").mean
    first = {one.algorithm: one for one in found.standings}
    assert (first[GOOD].missing, first[FAIR].failed) == (1, 1)
    for one in folders:
        (one / "p05.nii.gz").unlink()
    found = compare(folders, truth, metrics=("dice",), samples=50)
    assert "No algorithm has a prediction that can be compared for 1 case (p05)" in found.notes[0]


def test_a_protocol_may_refuse_lost_cases(world, tmp_path):
    folders, truth = world
    (folders[0] / "p00.nii.gz").unlink()
    own = tmp_path / "strict.toml"
    own.write_text(
        'metrics = ["dice"]\nmissing = "refuse"\n[card]\ntitle = "own"\nyear = 2026\n',
        encoding="utf-8",
    )
    with pytest.raises(BadData, match=r"takes whole sets alone: .* lacks 1 case \(p00\)"):
        compare(folders, truth, protocol=str(own))


def test_a_truth_named_by_prefix_is_one_case_for_all(world, tmp_path):
    folders, truth = world
    for path in truth.glob("*.nii.gz"):
        path.rename(truth / path.name.replace(".nii", "_seg.nii"))
    (folders[0] / "p00.nii.gz").unlink()
    found = compare(folders, truth, metrics=("dice",), samples=50)
    assert list(found.table.cases) == CASES
    assert found.statuses[GOOD]["p00"] == "missing"


def test_few_patients_can_show_nothing_and_the_page_says_so(tmp_path):
    few = CASES[:4]
    truth = folder(tmp_path / "truth", {case: label() for case in few})
    two = [
        folder(tmp_path / name, {case: label(2 + by) for case in few})
        for name, by in (("a", 0), ("b", 2))
    ]
    found = compare(two, truth, metrics=("dice",), samples=50, to=tmp_path / "out")
    assert found.pairs[0].effect == 1
    assert found.pairs[0].p == 0.125 == found.pairs[0].least
    assert not found.pairs[0].better
    assert "no difference could be significant" in found.advice()
    assert not found.advice().startswith("Choose")
    assert "4 patients are too few" in (tmp_path / "out" / "comparison.html").read_text("utf-8")


def test_cases_of_one_patient_are_one(tmp_path):
    """Twelve cases of three patients: three differences, whose least p is 1/4."""
    cases = [f"sub-{number // 4}_ses-{number % 4}" for number in range(12)]
    truth = folder(tmp_path / "truth", {case: label() for case in cases})
    two = [
        folder(tmp_path / name, {case: label(2 + by) for case in cases})
        for name, by in (("a", 0), ("b", 1))
    ]
    found = compare(two, truth, metrics=("dice",), samples=50)
    assert (found.pairs[0].cases, found.pairs[0].patients, found.patients) == (12, 3, 3)
    assert found.pairs[0].p == 0.25


def test_equals_share_a_rank(world):
    folders, truth = world
    copy = folder(folders[0].with_name("copy"), {c: label(4, s) for c, s in sizes(0).items()})
    found = compare([folders[2], copy], truth, metrics=("dice",), samples=50)
    assert [one.rank for one in found.standings] == [1.5, 1.5]
    assert found.pairs[0].p == 1
    assert "share the first rank" in found.advice()


def test_what_cannot_be_compared_is_refused(world, tmp_path):
    folders, truth = world
    with pytest.raises(BadOption, match="give two folders"):
        compare(folders[:1], truth)
    twin = folder(tmp_path / "else" / "fair", {"p00": label()})
    with pytest.raises(BadOption, match="both named 'fair'"):
        compare([folders[1], twin], truth)
    with pytest.raises(UnknownName, match="no protocol 'mds'; did you mean msd"):
        compare(folders, truth, protocol="mds")
    with pytest.raises(BadOption, match="fets averages over sites"):
        compare(folders, truth, protocol="fets")
    other = folder(tmp_path / "other", {case: label(value=2) for case in CASES})
    with pytest.raises(BadData, match="algorithms have other regions"):
        compare([folders[0], other], truth, samples=10)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ('scheme = "best"', "has the scheme 'best', not rank-then-aggregate or"),
        ("colour = 1", "unknown key 'colour'"),
        ('ranked = [["1", "hd"]]', "ranks '1' by 'hd', which it does not measure"),
        ("metrics = [", "cannot be read"),
    ],
)
def test_a_protocol_that_says_nonsense_is_refused(tmp_path, line, cause):
    own = tmp_path / "own.toml"
    card = '[card]\ntitle = "own"\nyear = 2026\n'
    own.write_text(f'metrics = ["dice"]\n{line}\n{card}', encoding="utf-8")
    with pytest.raises(BadFile, match=re.escape(cause)):
        read_protocol(str(own))


@pytest.mark.parametrize("name", names())
def test_every_protocol_is_whole(name):
    found = read_protocol(name)
    assert found.summary
    assert found.card.title
    assert "Our reading" in found.card.reading
    assert found.as_dict()["name"] == name
    for metric in set(found.metrics) - SCORES.keys():
        registry.build("metrics", metric)
    challenges = {"msd", "brats", "lits", "kits21", "fets", "curvas", "ubench", "mmss_robustness"}
    assert set(names()) >= {"plain", *challenges}


def test_regions_of_a_protocol_are_label_values(tmp_path):
    """KiTS21: kidney 1, tumour 2, cyst 3; a tumour called a cyst is right as a mass."""
    truth = label()
    truth[3:5, 3:5, 3:5] = 2
    wrong = np.where(truth == 2, 3, truth).astype(np.uint8)
    known = folder(tmp_path / "truth", dict.fromkeys(CASES[:3], truth))
    two = [
        folder(tmp_path / name, dict.fromkeys(CASES[:3], one))
        for name, one in (("right", truth), ("wrong", wrong))
    ]
    found = compare(two, known, protocol="kits21", samples=20)
    assert found.summary("wrong", "masses", "dice").mean == 1
    assert found.summary("wrong", "tumour", "dice").mean == 0
    assert len(found.ranked) == 6
    assert found.standings[0].algorithm == "right"


def test_groups_have_the_same_weight_and_a_table(world, tmp_path):
    """`fair` wins at the site of one case, `bad` nowhere: sites count, not cases."""
    folders, truth = world
    write_volume(folders[0] / "p09.nii.gz", np.zeros(SHAPE, np.uint8), GRID)
    sites = tmp_path / "sites.csv"
    lines = [f"{case},{'small' if case == 'p09' else 'large'},{case}" for case in CASES]
    sites.write_text("case,site,each\n" + "\n".join(lines), encoding="utf-8")
    regions = {"WT": (1, 2), "TC": (1,), "ET": (1,)}
    found = compare(
        folders,
        truth,
        protocol="fets",
        regions=regions,
        groups=sites,
        samples=20,
        to=tmp_path / "o",
    )
    scores = {one.algorithm: one.score for one in found.standings}
    ranks = np.stack(
        [
            statistics.rank(found.table.values[:, k], higher=up)
            for k, up in enumerate(found.table.higher)
        ]
    ).mean(axis=0)
    expected = (ranks[:, :9].mean(axis=1) + ranks[:, 9]) / 2
    assert [scores[name] for name in found.table.algorithms] == pytest.approx(expected.tolist())
    assert {one.column for one in found.groups} == {"site", "each"}
    small = [o for o in found.groups if (o.group, o.algorithm, o.metric) == ("small", GOOD, "dice")]
    assert {one.mean for one in small} == {0}
    assert {one.n for one in small} == {1}
    assert "By group" in (tmp_path / "o" / "comparison.html").read_text("utf-8")
    sites.write_text("case,site\np00,a\np00,b\n", encoding="utf-8")
    with pytest.raises(BadFile, match="names case p00 a second time in line 3"):
        compare(folders, truth, groups=sites)


def test_what_is_written_is_whole_escaped_and_repeatable(world, tmp_path):
    folders, truth = world
    (folders[1] / "p03.nii.gz").unlink()
    asked = {"metrics": ("dice", "hd95"), "regions": {"<i>tumour</i>": (1,)}, "samples": 100}
    found = compare(folders, truth, **asked, to=tmp_path / "one")
    again = compare(folders, truth, **asked, to=tmp_path / "two")
    assert found.as_dict() == again.as_dict()
    data = files.read_json(tmp_path / "one" / "comparison.json")
    assert data == json.loads(json.dumps(found.as_dict()))
    assert data["standings"][0]["algorithm"] == GOOD
    assert str(tmp_path) not in json.dumps(data)
    html = (tmp_path / "one" / "comparison.html").read_text(encoding="utf-8")
    assert GOOD not in html
    assert "<i>" not in html
    assert "göod &amp; &#x27;b&#x27;" in html
    assert str(tmp_path) not in html
    assert "Research use only" in html
    for outside in ("http://", "https://", "<script", "<link"):
        assert outside not in html.replace("http://www.w3.org", "")
    assert html.count('<svg class="plot"') == 2 + 1  # a measure each, and the ranks
    assert html.count("outline of the prediction") >= 8  # three worst cases of three algorithms
    with (tmp_path / "one" / "cases.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 10 * 2
    assert {row[FAIR] for row in rows if row["case"] == "p03" and row["metric"] == "dice"} == {
        "0.0"
    }
    with (tmp_path / "one" / "pairs.csv").open(encoding="utf-8", newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 3 * 2


def test_undefined_in_one_algorithm_is_told(world):
    folders, truth = world
    for case in CASES[:2]:
        write_volume(folders[1] / f"{case}.nii.gz", np.zeros(SHAPE, np.uint8), GRID)
    found = compare(folders[:2], truth, metrics=("precision",), samples=20)
    counts = found.summary(FAIR, "1", "precision")
    if counts.undefined:
        assert any("undefined for some algorithms in 2 cases (p00, p01)" in n for n in found.notes)
    assert counts.n + counts.undefined == 10


def test_cost_stands_beside_accuracy_where_records_hold_it(world):
    from oncoseg.compare.advice import advice
    from oncoseg.compare.told import costs

    folders, truth = world
    for name, seconds in ((folders[0], (10.0, 20.0)), (folders[1], (1.0, 2.0))):
        for number, one in enumerate(seconds):
            record = {"format": "oncoseg-prediction-1", "seconds": one, "peak_mb": 100 * one}
            files.write_json(name / f"x{number}.json", record)
    named = {path.name: path for path in folders}
    held = costs(named)
    assert held == {
        GOOD: {"seconds": 15.0, "peak_mb": 2000.0},
        FAIR: {"seconds": 1.5, "peak_mb": 200.0},
    }
    for path in folders[:2]:
        for record in path.glob("*.json"):
            record.unlink()
    few = compare(folders[:2], truth, metrics=("dice",), samples=50)
    unsure = [type(one)(**{**vars(one), "holm": 0.2}) for one in few.pairs]
    assert "Where time counts, fair takes 1.5 s a case, not 15 s." in advice(
        few.standings, unsure, held
    )


def test_the_command_line(world, tmp_path, capsys):
    folders, truth = world
    words = ["compare", *map(str, folders), "--reference", str(truth), "--metrics", "dice"]
    assert call([*words, "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].startswith("rank  algorithm")
    assert "comparison.html" in said
    assert (tmp_path / "out" / "leaderboard.csv").exists()
    assert call([*words, "--json", "--regions", "tumour=1"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["pairs"][0]["region"] == "tumour"
    assert call(["show", "protocols/msd"]) == 0
    assert "measures dice, nsd" in capsys.readouterr().out
    assert call([*words, "--protocol", "brast"]) == 2
    assert "did you mean brats" in capsys.readouterr().err
    assert call([*words, "--regions", "tumour=x"]) == 2


def test_records_define_the_regions_of_a_protocol_by_their_own_labels(tmp_path):
    """Enhancing tumour is 4 in these records, 3 in the protocol of BraTS; `extra` is not asked."""
    members = {"WT": ("a", "b", "c"), "TC": ("a", "c"), "ET": ("c",), "extra": ("b",)}
    task = Task("toy", ("t1",), {"a": 1, "b": 2, "c": 4}, members)
    truth = label(value=4)
    known = folder(tmp_path / "truth", dict.fromkeys(CASES[:2], truth))
    for name, start in (("one", 2), ("two", 4)):
        for case in CASES[:2]:
            empty = np.zeros((4, *SHAPE), np.float16)
            found = Prediction(case, task, GRID, label(start, value=4), empty, ("t1",))
            results.save(found, tmp_path / name)
    two = [tmp_path / "one", tmp_path / "two"]
    found = compare(two, known, protocol="brats", samples=20, to=tmp_path / "out")
    assert {region for region, _ in found.ranked} == {"WT", "TC", "ET"}
    assert found.summary("one", "ET", "brats_dice").mean == 1
    assert 0 < found.summary("two", "ET", "brats_dice").mean < 1


def test_a_data_set_says_its_own_labels_of_a_protocols_regions(tmp_path):
    """BraTS until 2022 had enhancing tumour as 4; what no region has is refused."""
    truth, grey = label(value=4), label().astype(np.float32)
    for case in ("BraTS2021_00001", "BraTS2021_00002"):
        for word, one in (("t1", grey), ("seg", truth)):
            write_volume(tmp_path / "data" / case / f"{case}_{word}.nii.gz", one, GRID)
        for name, start in (("one", 2), ("two", 4)):
            write_volume(tmp_path / name / f"{case}.nii.gz", label(start, value=4), GRID)
    two = [tmp_path / "one", tmp_path / "two"]
    found = compare(two, tmp_path / "data", protocol="brats", samples=20)
    assert found.protocol.regions["ET"] == (4,)
    assert found.summary("one", "ET", "brats_dice").mean == 1
    assert found.summary("two", "ET", "brats_dice").mean < 1
    with pytest.raises(BadData, match=r"has the labels .*\(4\), which no region of protocol lits"):
        compare(two, tmp_path / "data", protocol="lits")
