"""Samples of one model: mirrored views, draws, members or dropouts; their mean and spread."""

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.case import Case, Grid, Volume
from oncoseg.errors import BadFile, BadOption
from oncoseg.model import open_model, save_model
from oncoseg.prepare.plan import Normalisation, Plan
from worlds import classes_task, regions_task

torch = pytest.importorskip("torch")
from oncoseg.predict import segment  # noqa: E402
from oncoseg.predict.samples import Samples, axes_of, offered, spreads  # noqa: E402

SMALL = "unet:width=4,blocks=1"
DRAWS = "probabilistic_unet:width=4,blocks=1,latent=2"


def model(folder, spelled=SMALL, task=None, **card):
    """A model file of an untrained network."""
    task = task or classes_task(3, 16)
    torch.manual_seed(1)
    network = registry.build("networks", spelled, task)
    network.alone = "exporting it takes longer than all else here"
    plan = Plan(task, {name: Normalisation() for name in task.modalities})
    return open_model(save_model(folder / "m.onco", network, spelled, plan, card, "licence"))


def patch(task, seed=0):
    shape = (1, task.inputs, *task.patch)
    image = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return image, np.ones(shape, dtype=bool)


def chance(task, answer):
    logits = answer[: task.outputs].reshape(task.outputs, -1)
    return task.probabilities(logits).reshape(-1, *task.patch)


@pytest.mark.parametrize("task", [classes_task(3, 16), regions_task(2, 16)])
def test_the_mean_of_mirrored_views_mirrors_with_the_scan(tmp_path, task):
    opened = model(tmp_path, task=task, mirrored_axes=", ".join(map(str, range(task.dims))))
    samples = Samples(opened, 2**task.dims, "torch", "cpu")
    image, present = patch(task)
    found = samples(image, present)[0]
    assert found.shape == (task.outputs + len(spreads(task)), *task.patch)
    for axis in range(task.dims):
        turned = np.flip(samples(np.flip(image, axis + 2), present)[0], axis + 1)
        assert np.abs(turned - found).max() < 1e-4


def test_mean_and_spread_are_those_of_both_views(tmp_path):
    task = classes_task(3, 16)
    opened = model(tmp_path, mirrored_axes="0")
    image, present = patch(task)
    network = opened.network()
    from oncoseg.predict.engines import network_engine

    infer = network_engine(network, "cpu")
    both = [infer(image, present)[0], np.flip(infer(np.flip(image, 2).copy(), present)[0], 1)]
    found = Samples(opened, 2, "torch", "cpu", soften=lambda logits: logits / 2)(image, present)[0]
    assert np.allclose(found[: task.outputs], np.mean(both, axis=0), atol=1e-5)
    apart = [chance(task, one / 2) for one in both]
    assert np.allclose(found[task.outputs :], np.std(apart, axis=0, ddof=1), atol=1e-5)


def test_there_is_no_spread_where_nothing_was_scanned(tmp_path):
    opened = model(tmp_path, mirrored_axes="0")
    image, present = patch(opened.task)
    present[..., :4] = False
    found = Samples(opened, 2, "torch", "cpu")(image, present)[0, opened.task.outputs :]
    assert not found[..., :4].any()
    assert found[..., 4:].any()


def test_draws_are_the_same_in_every_window(tmp_path):
    opened = model(tmp_path, DRAWS, mirrored_axes="0")
    assert offered(opened)[0] == "draws of the network"
    samples = Samples(opened, 5)
    image, present = patch(opened.task)
    first, again = samples(image, present), samples(image, present)
    assert np.array_equal(first, again)
    assert first[0, opened.task.outputs :].max() > 0


def test_members_are_the_samples_of_a_network_that_holds_several(tmp_path):
    task = classes_task(3, 16)
    spelled = "nnunet:width=4,members=3"
    opened = model(tmp_path, spelled, task, mirrored_axes="0")
    assert offered(opened) == ("members", 3)
    image, present = patch(task)
    from oncoseg.predict.engines import network_engine

    whole = network_engine(opened.network(), "cpu")(image, present)[0]
    found = Samples(opened, 3)(image, present)[0]
    assert np.allclose(found[: task.outputs], whole, atol=1e-4)
    assert found[task.outputs :].max() > 0


def test_units_are_dropped_where_training_dropped_some(tmp_path, monkeypatch):
    opened = model(tmp_path, mirrored_axes="0")
    bare = opened.network()
    monkeypatch.setattr(
        "oncoseg.registry.chosen", lambda slot, spelled: {"dropout": 0.5, "members": 1}
    )
    bare.extra = torch.nn.Dropout(0.5)
    bare.register_forward_hook(lambda module, _, found: [module.extra(found[0])])
    monkeypatch.setattr("oncoseg.model.Model.network", lambda self: bare)
    assert offered(opened)[0] == "random dropouts"
    image, present = patch(opened.task)
    assert Samples(opened, 3)(image, present)[0, opened.task.outputs :].max() > 0
    assert not bare.training


@pytest.mark.parametrize(
    ("axes", "count", "told"),
    [
        ("0", 1, "'samples' takes 2 or more, not 1"),
        ("0", 3, "has 2 mirrored views; ask for no more samples than there are"),
        ("", 2, "has nothing to sample: no draws, members or mirrored axes"),
    ],
)
def test_more_than_a_model_offers_is_refused(tmp_path, axes, count, told):
    with pytest.raises(BadOption, match=told):
        Samples(model(tmp_path, mirrored_axes=axes), count)


@pytest.mark.parametrize("axes", ["3", "-1", "x", "0; 1"])
def test_axes_that_there_are_not_are_refused(tmp_path, axes):
    with pytest.raises(BadFile, match="mirrors along axes that there are not"):
        axes_of(model(tmp_path, mirrored_axes=axes))


def test_every_scan_begins_anew_also_for_the_engine_under_mirrored_views(tmp_path, monkeypatch):
    opened = model(tmp_path, mirrored_axes="0")
    samples, told = Samples(opened, 2, "torch", "cpu"), []
    samples.inner = lambda image, present: None
    samples.inner.begun = lambda: told.append("begun")
    image = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    case = Case("c", "c", {"image": Volume(image, Grid(image.shape, np.eye(4)), opened.path)})
    for count in (1, 2):
        segment(case, opened.plan, samples, maps=spreads(opened.task))
        assert told == ["begun"] * count
