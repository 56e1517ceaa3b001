"""Federate: what leaves a site, what is refused, what stays, and that the rounds learn."""

import json
import re
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from oncoseg import phantom
from oncoseg.errors import BadData, BadRun, MissingExtra
from oncoseg.evaluate import evaluate
from oncoseg.federate import checked, federate, sites_of
from oncoseg.federate.rounds import Rounds
from oncoseg.federate.site import Site, Update, shared
from oncoseg.model import open_model
from oncoseg.predict import predict
from oncoseg.registry import build
from oncoseg.run import Run

NAMES = ("site é", "b", "c")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three sites of 4, 2 and 2 patients of one toy world."""
    top = tmp_path_factory.mktemp("sites with spaces")
    _, cases = phantom.world(2, 8, dims=2, size=24)
    for number, case in enumerate(cases):
        phantom.write(case, top / NAMES[max(0, (number - 2) // 2)], layout="folders")
    return [top / name for name in NAMES]


def run_to(folder, **changes):
    words = {
        "data": "",
        "to": str(folder / "model.onco"),
        "network": "unet:width=4,blocks=1",
        "augmentations": ("intensity",),
        "labels": {"c1": 1, "c2": 2},
        "minutes": 0,
        "steps": 3,
        "rate": 1e-2,
        "device": "cpu",
        "precision": "f32",
        "workers": 1,
    }
    return Run(**{**words, **changes})


def made(tmp_path, folders, strategy="fedavg", rounds=2, **changes):
    run = run_to(tmp_path, **changes)
    whole = checked(run, folders, strategy, rounds, "process")
    return sites_of(whole, folders, strategy, run.steps)


def begin(site):
    """Weights to send, of a network such as the site's."""
    from oncoseg.prepare import Plan
    from oncoseg.train import loop, prepared

    plan = Plan.read(prepared(site.run) / "plan.json")
    return shared(loop.build(site.run, plan.task)[0].network, build("strategies", site.strategy))


def fitted(sites, weights, number):
    return {site.name: site.fit(weights, number) for site in sites}


def test_no_pull_is_federated_averaging_to_the_bit(tmp_path, folders):
    results = []
    for spelled in ("fedavg", "fedprox:pull=0"):
        folder = tmp_path / spelled.partition(":")[0]
        sites = made(folder, folders[:2], spelled)
        rounds = Rounds(build("strategies", spelled), begin(sites[0]), folder / "rounds.jsonl")
        for number in range(2):
            rounds(partial(fitted, sites), number)
        results.append(rounds.shared)
    for name, value in results[0].items():
        assert np.array_equal(value, results[1][name])


def test_a_pull_keeps_a_site_nearer(tmp_path, folders):
    distances = []
    for pull in (0, 10):
        site = made(tmp_path / str(pull), folders[:2], f"fedprox:pull={pull}", steps=8)[0]
        weights = begin(site)
        update = site.fit(weights, 0)
        gaps = [np.square(update.weights[name] - weights[name]).sum() for name in weights]
        distances.append(sum(gaps))
    assert distances[1] < 0.7 * distances[0]


def test_the_state_stays_at_its_site_and_is_gone_on_from(tmp_path, folders):
    site = made(tmp_path / "once", folders[:2])[0]
    weights = begin(site)
    first = site.fit(weights, 0)
    assert site.state.parent == site.run.folder
    kept = site.state.read_bytes()
    with_state = site.fit(first.weights, 1)
    site.state.unlink()
    without = site.fit(first.weights, 1)
    assert any(
        not np.array_equal(with_state.weights[name], without.weights[name]) for name in weights
    ), "the optimiser's moments were not gone on from"
    site.state.write_bytes(kept)
    again = site.fit(first.weights, 1)
    assert all(np.array_equal(with_state.weights[n], again.weights[n]) for n in weights)


def test_a_site_that_broke_down_keeps_its_earlier_state(tmp_path, folders):
    site = made(tmp_path, folders[:2])[0]
    weights = begin(site)
    site.fit(weights, 0)
    kept = site.state.read_bytes()
    broken = {name: np.full_like(value, np.nan) for name, value in weights.items()}
    assert not np.isfinite(site.fit(broken, 1).loss)
    assert site.state.read_bytes() == kept


def update(cases=1, **weights):
    return Update({**LIKE, **weights}, cases, 0.5)


NAN, INF = np.array([1, np.nan], np.float32), np.full((2, 3), np.inf, np.float32)
LIKE = {"w": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.float32)}


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        (lambda: update(b=NAN), "values in b that are"),
        (lambda: update(w=INF), "values in w that are"),
        (lambda: update(w=np.ones((3, 2))), r"w of shape \(3, 2\) where"),
        (lambda: Update({"w": LIKE["w"]}, 1, 0.5), "lacks b"),
        (lambda: update(x=LIKE["b"]), "has x, which is not asked for"),
        (lambda: update(cases=0), "no cases"),
        (lambda: "BadFile in round 0", "gave no update: BadFile"),
    ],
)
def test_what_cannot_be_merged_is_left_out_and_named(tmp_path, what, cause):
    rounds = Rounds(build("strategies", "fedavg"), dict(LIKE), tmp_path / "rounds.jsonl")
    good = Update({name: value + 1 for name, value in LIKE.items()}, 7, 0.25)
    line = rounds(lambda weights, number: {"north": good, "south": what()}, 0)
    assert list(line["refused"]) == ["south"]
    assert "south" in line["refused"]["south"]
    with pytest.raises(BadRun, match=cause):
        rounds(lambda weights, number: {"south": what()}, 1)
    assert all((value == 1).all() for value in rounds.shared.values())
    written = [json.loads(each) for each in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    assert written[0]["sites"] == {"north": {"cases": 7, "loss": 0.25}}
    assert len(written) == 2


def test_a_patient_at_two_sites_is_refused(tmp_path, folders):
    there = tmp_path / "other"
    shutil.copytree(folders[1], there)
    with pytest.raises(BadData, match=r"patient world_004 is at b and at other; .* remove it"):
        made(tmp_path, [folders[1], there])


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"classes": 3}, "labels c1=1,c2=2 and other has c1=1,c2=2,c3=3"),
        ({"modalities": ("a",)}, "modalities a,b and other has a"),
    ],
)
def test_sites_of_other_schemes_are_refused(tmp_path, folders, options, cause):
    _, cases = phantom.world(5, 12, dims=2, size=24, **options)
    for case in cases[10:]:
        phantom.write(case, tmp_path / "other", layout="folders")
    names = {"labels": {}, "regions": {}}
    cause = cause.replace("c1", "label_1").replace("c2", "label_2").replace("c3", "label_3")
    with pytest.raises(BadData, match=cause):
        made(tmp_path, [folders[1], tmp_path / "other"], **names)


@pytest.mark.parametrize(
    ("count", "options", "cause"),
    [
        (1, {}, "two sites or more"),
        (2, {"rounds": 0}, "--rounds and --steps must be 1 or more"),
        (2, {"engine": "fast"}, "the engine is simulation or process, not 'fast'"),
        (2, {"posthoc": ("temperature",)}, "posthoc|no posthoc step"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(tmp_path, folders, count, options, cause):
    words = {"strategy": "fedavg", "rounds": 2, "engine": "process"}
    words |= {name: options.pop(name) for name in list(options) if name in words}
    with pytest.raises(Exception, match=cause) as error:
        checked(run_to(tmp_path, **options), folders[:count], *words.values())
    assert type(error.value).__module__ == "oncoseg.errors"
    assert not list(tmp_path.iterdir())


def test_two_folders_of_one_name_are_refused(tmp_path, folders):
    shutil.copytree(folders[2], tmp_path / "b")
    with pytest.raises(BadRun, match="two sites are called b"):
        made(tmp_path, [folders[1], tmp_path / "b"])


def test_without_flower_the_pip_line_is_said(tmp_path, folders, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flwr", None)
    with pytest.raises(MissingExtra, match=r"oncoseg\[federated\]"):
        federate(run_to(tmp_path), folders)


def test_nothing_but_parameters_and_counts_leaves_a_site(tmp_path, folders):
    pytest.importorskip("flwr", reason="needs the extra federated")
    from oncoseg.federate import flower

    sites = made(tmp_path, folders)
    rounds = Rounds(build("strategies", "fedavg"), begin(sites[0]), tmp_path / "rounds.jsonl")
    seen = []
    server = flower.server_app(rounds, [site.name for site in sites], 2, seen)
    sites[1] = Site(sites[1].name, sites[1].run, "no_such_strategy", sites[1].steps)
    sent = flower.run_here(server, flower.client_app(sites), len(sites))
    leaving = sent[1::2]
    assert len(leaving) == 3 * (1 + 2)
    for message in leaving:
        if message.has_error():
            told = r"UnknownName in round [01], told in its own failures\.txt"
            assert re.fullmatch(told, message.error.reason)
            continue
        records = dict(message.content.items())
        assert set(records) <= {"weights", "figures"}
        assert set(records["figures"]) <= {"site", "cases", "loss"}
        assert all(isinstance(value, (int, float)) for value in records["figures"].values())
        for name, array in records.get("weights", {}).items():
            assert array.numpy().shape == rounds.shared[name].shape
            assert array.data[:6] == b"\x93NUMPY"  # written by numpy.save, read without pickle
            assert array.numpy().dtype.kind in "fiu"
    assert [set(line["refused"]) for line in seen] == [{"b"}, {"b"}]
    assert "no_such_strategy" in (sites[1].run.folder / "failures.txt").read_text(encoding="utf-8")


def test_three_sites_learn_a_model_together(tmp_path, folders):
    pytest.importorskip("flwr", reason="needs the extra federated")
    run = run_to(tmp_path, steps=20, network="unet:width=8")
    model = federate(run, folders, rounds=4, strategy="fedprox:pull=0.001", engine="process")
    lines = [json.loads(each) for each in (tmp_path / "model.run/rounds.jsonl").open()]
    assert [line["round"] for line in lines] == [0, 1, 2, 3]
    assert {name: site["cases"] for name, site in lines[0]["sites"].items()} == dict(
        zip(NAMES, (4, 2, 2))
    )
    assert lines[-1]["sites"]["b"]["loss"] < lines[0]["sites"]["b"]["loss"]
    assert open_model(model).card["strategy"] == "fedprox:pull=0.001"
    _, cases = phantom.world(2, 12, dims=2, size=24)
    for case in cases[8:]:
        phantom.write(case, tmp_path / "new", layout="folders")
    assert not predict(model, tmp_path / "new", to=tmp_path / "out").failed
    assert evaluate(tmp_path / "out", tmp_path / "new").mean("c1", "dice") > 0.6
    with pytest.raises(BadRun, match="already holds a federation"):
        federate(run, folders, engine="process")


@pytest.mark.slow
def test_flowers_simulation_gives_the_same_model(tmp_path, folders, monkeypatch):
    pytest.importorskip("flwr", reason="needs the extra federated")
    pytest.importorskip("ray", reason="needs the extra federated")
    home = tmp_path / "home"
    for name in ("HOME", "USERPROFILE", "FLWR_HOME"):
        monkeypatch.setenv(name, str(home))
    models = [
        open_model(federate(run_to(tmp_path / engine), folders, rounds=2, engine=engine))
        for engine in ("process", "simulation")
    ]
    torch.testing.assert_close(*(m.network().state_dict() for m in models), atol=2e-3, rtol=1e-2)
    assert not list(home.rglob("source")), "Flower reported its use"
