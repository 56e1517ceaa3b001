"""Starting from a model of another task: what fits is taken, by the names of modalities."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadFile, BadRun
from oncoseg.model import matched, open_model, save_model
from oncoseg.prepare import Plan
from oncoseg.prepare.plan import Normalisation
from oncoseg.run import Run
from worlds import classes_task

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
    task = replace(classes_task(3, 16, classes=4), modalities=OLD.modalities)
    network = registry.build("networks", "unet:width=4", task)
    fresh = open_model(path).start(network, task)
    assert fresh
    assert all(name.startswith("heads.") for name in fresh)
    for name, value in network.state_dict().items():
        if name not in fresh:
            assert torch.equal(value, old.state_dict()[name]), name


def test_modalities_are_matched_by_name(saved):
    path, old = saved
    task = replace(OLD, modalities=("flair", "t2", "t1"))
    network = registry.build("networks", "unet:width=4", task)
    assert not open_model(path).start(network, task)
    name = next(name for name, value in old.named_parameters() if value.ndim == 5)
    was, now = old.state_dict()[name], network.state_dict()[name]
    image, presence = was[:, :2], was[:, 2:]
    assert torch.equal(now[:, [2, 1]], image)
    assert torch.equal(now[:, [5, 4]], presence)
    assert torch.allclose(now[:, 0], image.mean(1))


def test_a_weight_of_another_shape_is_left_out():
    assert matched(torch.zeros(3, 4), (3, 5), OLD, OLD) is None
    assert matched(torch.zeros(3), (3,), OLD, replace(OLD, modalities=("t1",))) is not None


def test_a_model_of_another_network_is_refused(saved):
    other = registry.build("networks", "unet:width=6", OLD)
    with pytest.raises(BadFile, match="of the weights of the network to be trained; start from"):
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
