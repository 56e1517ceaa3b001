"""Starting from a model of another task: what fits is taken, by the names of modalities."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadFile, BadRun
from oncoseg.model import open_model, save_model
from oncoseg.predict import predict
from oncoseg.prepare import Plan
from oncoseg.prepare.plan import Normalisation
from oncoseg.run import Run
from worlds import classes_task, make_batch

OLD = replace(classes_task(3, 16), modalities=("t1", "t2"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    network = registry.build("networks", "unet:width=4", OLD)
    plan = Plan(OLD, {name: Normalisation() for name in OLD.modalities})
    path = tmp_path_factory.mktemp("models") / "old.onco"
    save_model(path, network, "unet:width=4", plan, {}, "none")
    return path, network


def test_only_the_head_is_new_for_other_classes(saved):
    path, old = saved
    task = replace(OLD, labels={"a": 1, "b": 2}, regions={"a": ("a",), "b": ("b",)})
    network = registry.build("networks", "unet:width=4", task)
    fresh = open_model(path).start(network, task).initialised
    assert fresh
    assert all(name.startswith("heads.") for name in fresh)
    for name, value in network.state_dict().items():
        if name not in fresh:
            assert torch.equal(value, old.state_dict()[name]), name


def test_modalities_are_matched_by_name(saved):
    path, old = saved
    task = replace(OLD, modalities=("flair", "t2", "t1"))
    network = registry.build("networks", "unet:width=4", task)
    assert not open_model(path).start(network, task).initialised
    name = next(name for name, value in old.named_parameters() if value.ndim == 5)
    was, now = old.state_dict()[name], network.state_dict()[name]
    image, presence = was[:, :2], was[:, 2:]
    assert torch.equal(now[:, [2, 1]], image)
    assert torch.equal(now[:, [5, 4]], presence)
    assert torch.allclose(now[:, 0], image.mean(1))


@pytest.mark.parametrize("spelled", ["unet:width=4", "hemis:width=4", "unet:width=2"])
def test_other_order_of_modalities_gives_the_same_answer(spelled, tmp_path):
    """Also where hidden layers are as wide as there are modalities, once or twice."""
    torch.manual_seed(0)
    names = ("t1", "t2", "flair", "t1ce")
    old = replace(OLD, modalities=names)
    first = registry.build("networks", spelled, old).half().float().eval()
    plan = Plan(old, {name: Normalisation() for name in names})
    path = save_model(tmp_path / "m.onco", first, spelled, plan, {}, "none")
    turned = (2, 0, 3, 1)
    new = replace(old, modalities=tuple(names[place] for place in turned))
    second = registry.build("networks", spelled, new).eval()
    assert not open_model(path).start(second, new).initialised
    batch = make_batch(old)
    other = batch.but(image=batch.image[:, turned], present=batch.present[:, turned])
    assert torch.allclose(first(batch)[0], second(other)[0], atol=1e-4)


def test_a_model_of_another_network_is_refused(saved):
    other = registry.build("networks", "unet:width=12", OLD)
    with pytest.raises(BadRun, match="has 33% of the weights of the encoder to be trained, and wi"):
        open_model(saved[0]).start(other, OLD)


def test_what_a_method_needs_is_asked_for_before_any_work(tmp_path, monkeypatch):
    run = Run(str(tmp_path), str(tmp_path / "m.onco"))
    entry = registry.entry

    def needing(slot, name):
        found = entry(slot, name)
        return replace(found, needs=("queries",)) if slot == "methods" else found

    monkeypatch.setattr("oncoseg.run.registry.entry", needing)
    with pytest.raises(BadRun, match="supervised needs a network that gives queries, which unet"):
        run.check()
    monkeypatch.undo()
    with pytest.raises(BadRun, match="posthoc steps learn from held-out cases"):
        replace(run, posthoc=("x",))._check_needs()
    replace(run, posthoc=("none",))._check_needs()


def test_a_model_to_start_from_is_refused_where_one_that_segments_is_wanted(tmp_path):
    network = registry.build("networks", "unet:width=4", OLD)
    plan = Plan(OLD, {name: Normalisation() for name in OLD.modalities})
    card = {"segments": False, "method": "bm_mae"}
    path = save_model(tmp_path / "pre.onco", network, "unet:width=4", plan, card, "none")
    with pytest.raises(BadFile, match=r"pre\.onco: does not segment: bm_mae made it to start from"):
        predict(path, tmp_path, to=tmp_path / "out")
    assert not (tmp_path / "out").exists()
