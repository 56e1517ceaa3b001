"""Recipes: names and options alone, stages handed over in order, nothing repeated or mixed up."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from oncoseg import phantom, recipe
from oncoseg.__main__ import call
from oncoseg.errors import BadData, BadFile, BadOption, BadRun, UnknownName
from oncoseg.model import open_model
from oncoseg.recipe import follow, planned, read_recipe
from runs import toy_data

CARD = '[card]\ntitle = "T"\nyear = 2020\n'
SMALL = {
    "network": "unet:width=4,blocks=1",
    "augmentations": [],
    "steps": 2,
    "minutes": 0,
    "precision": "f32",
    "device": "cpu",
    "workers": 1,
    "batch": 2,
}
NAMES = {"task.labels": {"c1": 1, "c2": 2}, "organs.labels": {"o1": 1, "o2": 2, "o3": 3}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scans alone of larger size, organs with three labels, and a task with two."""
    top = tmp_path_factory.mktemp("recipe é")
    worlds = {"unlabelled": (1, 48, 2), "organs": (2, 24, 3), "task": (3, 32, 2)}
    for word, (seed, size, classes) in worlds.items():
        _, cases = phantom.world(seed, 3, dims=2, size=size, classes=classes)
        for case in cases:
            bare = replace(case, labels={}) if word == "unlabelled" else case
            phantom.write(bare, top / word, layout="folders")
    return {word: str(top / word) for word in worlds}


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_is_short_and_names_what_there_is(name, tmp_path):
    found = read_recipe(name)
    lines = found.path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 20
    assert found.summary
    assert found.card.title
    assert found.card.arxiv or found.card.doi or found.card.url
    runs = planned(found, dict.fromkeys(found.data, str(tmp_path)), str(tmp_path / "m.onco"), {})
    assert len(runs) == len(found.stages)


def test_gynbtnet_hands_all_but_the_head_from_stage_to_stage(data, tmp_path):
    model = follow(read_recipe("gynbtnet"), data, str(tmp_path / "m.onco"), {**SMALL, **NAMES})
    looked, organs = (
        open_model(tmp_path / "m.stages" / name) for name in ("1_unlabelled.onco", "2_organs.onco")
    )
    last = open_model(model)
    assert [tuple(each.task.regions) for each in (looked, organs, last)] == [
        *(("untrained",), ("o1", "o2", "o3"), ("c1", "c2"))
    ]
    grids = [(each.task.spacing, each.task.patch, each.task.strides) for each in (looked, last)]
    assert grids == [(last.task.spacing, last.task.patch, last.task.strides)] * 2
    assert open_model(model).card["method"] == "supervised"
    for folder, before in (("m.stages/2_organs.run", looked), ("m.run", organs)):
        start = json.loads((tmp_path / folder / "start.json").read_text(encoding="utf-8"))
        assert start["model"] == str(before.path)
        assert {name.partition(".")[0] for name in start["initialised"]} == {"heads"}
    weights = [each.network().state_dict() for each in (organs, last)]
    same = [name for name in weights[0] if weights[0][name].shape == weights[1][name].shape]
    gaps = [float((weights[0][name] - weights[1][name]).abs().max()) for name in same]
    assert max(gaps) < 0.05, "the last stage did not start from the one before"


def test_segbook_hands_all_but_the_head_to_the_grid_of_the_task(data, tmp_path):
    found, to = read_recipe("segbook"), str(tmp_path / "m.onco")
    words = {"bodies": data["organs"], "task": data["task"]}
    labels = {"bodies.labels": NAMES["organs.labels"], "task.labels": NAMES["task.labels"]}
    model = open_model(follow(found, words, to, {**SMALL, **labels, "network": "stunet:width=4"}))
    before = open_model(tmp_path / "m.stages" / "1_bodies.onco")
    assert before.task.patch != model.task.patch
    start = json.loads((tmp_path / "m.run" / "start.json").read_text(encoding="utf-8"))
    assert {name.partition(".")[0] for name in start["initialised"]} == {"heads"}
    assert start["encoder"] == 1
    assert start["adapted"] == start["cut"] == {}


def test_a_stage_that_is_finished_is_not_repeated(data, tmp_path, monkeypatch):
    found, to = read_recipe("gynbtnet"), str(tmp_path / "m.onco")
    follow(found, data, to, {**SMALL, **NAMES})
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.onco")}
    assert len(made) == 3
    Path(to).unlink()
    with pytest.raises(BadRun, match=r"1_unlabelled\.onco is begun; go on with --resume"):
        follow(found, data, to, {**SMALL, **NAMES})
    follow(found, data, to, {**SMALL, **NAMES}, resume=True)
    for path, when in made.items():
        assert (path.stat().st_mtime_ns == when) == (path != Path(to))
    with pytest.raises(BadRun, match=r"was begun with another steps; write to another file"):
        follow(found, data, to, {**SMALL, **NAMES, "steps": 3}, resume=True)
    (tmp_path / "m.stages" / "1_unlabelled.onco").unlink()
    with pytest.raises(BadRun, match=r"2_organs\.onco was made from another .* remove it"):
        follow(found, data, to, {**SMALL, **NAMES}, resume=True)


def test_data_of_other_dimensions_cannot_share_the_grid(data, tmp_path):
    toy_data(tmp_path / "solid", 1, 2, dims=3, size=16)
    words = {**data, "unlabelled": str(tmp_path / "solid")}
    with pytest.raises(BadData, match="is 3-D and the grid to share is 2-D"):
        follow(read_recipe("gynbtnet"), words, str(tmp_path / "m.onco"), {**SMALL, **NAMES})


def test_what_is_set_reaches_the_stages_it_names(data):
    changes = {"seed": 7, "task.labelled": 2, "hold": ["p"], "network": "unet:width=2", "steps": 5}
    runs = planned(read_recipe("gynbtnet"), data, "m.onco", changes)
    assert [run.seed for run in runs] == [7, 7, 7]
    assert [run.labelled for run in runs] == [0, 0, 2]
    assert [run.rate for run in runs] == [1e-3, 1e-3, 1e-4]
    assert {(run.hold, run.network, run.steps, run.minutes) for run in runs} == {
        (("p",), "unet:width=2", 5, 0.0)
    }
    assert [run.start for run in runs] == ["", runs[0].to, runs[1].to]
    assert runs[2].to == "m.onco"
    assert [run.method for run in runs] == ["spark", "supervised", "supervised"]


@pytest.mark.parametrize(
    ("changes", "kind", "cause"),
    [
        ({"width": 3}, BadOption, "'width' is not to be set"),
        ({"organ.seed": 3}, BadOption, "DATA one of unlabelled, organs, task"),
        ({"to": "x.onco"}, BadOption, "'to' is not to be set"),
        ({"seed": "three"}, BadOption, "seed is 'three', which is no int"),
        ({"rate": True}, BadOption, "rate is True, which is no float"),
        ({"loss": "dice_c"}, UnknownName, "did you mean dice_ce"),
    ],
)
def test_what_cannot_be_set_is_refused(data, changes, kind, cause):
    with pytest.raises(kind, match=cause):
        planned(read_recipe("gynbtnet"), data, "m.onco", changes)


def test_data_sets_are_all_named_and_no_others(data):
    found = read_recipe("gynbtnet")
    with pytest.raises(BadRun, match="needs the data 'task'; give --data task=FOLDER"):
        planned(found, {word: data[word] for word in ("unlabelled", "organs")}, "m.onco", {})
    with pytest.raises(BadRun, match="has no data 'tasks'; it has unlabelled, organs, task"):
        planned(found, {**data, "tasks": "x"}, "m.onco", {})


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('[[stages]]\ndata = "a"\n', "no whole card"),
        (CARD, "no whole card and stages"),
        (CARD + '[[stages]]\ndata = "a"\nwidth = 3\n', "unknown key 'width' in stage 1"),
        (CARD + '[[stages]]\ndata = "a"\nplan = "p"\n', "unknown key 'plan' in stage 1"),
        (CARD + "[[stages]]\nseed = 1\n", "names no data in stage 1"),
        (CARD + '[[stages]]\ndata = "a"\nstart = "previous"\n', "from a previous one"),
        ('grid = "b"\n' + CARD + '[[stages]]\ndata = "a"\n', "no data 'b'"),
        ("stages = [\n", "cannot be read"),
        ('[card]\nname = "T"\n[[stages]]\ndata = "a"\n', "no whole card"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, cause):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=cause):
        read_recipe(str(path))


def test_a_recipe_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("# Mine\nseed = 3\n" + CARD + '[[stages]]\ndata = "a"\n', encoding="utf-8")
    found = read_recipe(str(path))
    assert (found.name, found.summary, found.data) == ("own", "Mine", ["a"])
    assert planned(found, {"a": str(tmp_path)}, "m.onco", {})[0].seed == 3


def test_an_unknown_recipe_has_a_hint():
    with pytest.raises(UnknownName, match="no recipe 'gynbt'; did you mean gynbtnet"):
        read_recipe("gynbt")


def test_the_catalogue_knows_recipes(capsys):
    assert call(["list", "recipes"]) == 0
    assert "gynbtnet  GynBTNet: masked modelling" in capsys.readouterr().out
    assert call(["show", "recipes/gynbtnet"]) == 0
    shown = capsys.readouterr().out
    assert "arXiv:2506.01073" in shown
    assert "stage    1. network=unet:residual=true, data=unlabelled, method=spark" in shown
    assert call(["show", "gynbtnet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"][0]["slot"] == "recipes"


def test_the_command_line_says_all_of_it(data, tmp_path, monkeypatch, capsys):
    seen = {}

    def stand_in(found, words, to, changes, *, resume):
        seen.update(name=found.name, data=words, to=to, changes=changes, resume=resume)
        return Path(to)

    monkeypatch.setattr(recipe, "follow", stand_in)
    words = [f"--data={word}={folder}" for word, folder in data.items()]
    sets = ["--set=task.rate=3e-4", "--set=network=unet:width=8", '--set=hold=["a", "b"]']
    assert call(["recipe", "gynbtnet", *words, "--to", "m.onco", *sets, "--resume"]) == 0
    assert seen["data"] == data
    assert seen["changes"] == {
        "task.rate": 3e-4,
        "network": "unet:width=8",
        "hold": ["a", "b"],
    }
    assert seen["resume"]
    assert call(["recipe", "gynbtnet", *words, words[0], "--to", "m.onco"]) == 2
    assert "a name is there twice" in capsys.readouterr().err


def test_a_store_on_another_grid_is_refused(data, tmp_path):
    from oncoseg.prepare import prepare

    prepare(Path(data["organs"]), tmp_path / "store", labels=NAMES["organs.labels"])
    words = {**data, "organs": str(tmp_path / "store")}
    with pytest.raises(BadRun, match="was prepared on another grid; give its scans instead"):
        follow(read_recipe("gynbtnet"), words, str(tmp_path / "m.onco"), {**SMALL, **NAMES})
