"""SparK: nothing masked is seen, masked sites stay 0, norms count visible sites alone."""

import pytest
import torch
from torch import nn

from oncoseg import registry
from oncoseg.blocks.norm import NormAct
from oncoseg.blocks.sparse import at, normalised, sparse
from oncoseg.errors import BadOption
from oncoseg.model import open_model, save_model
from oncoseg.prepare import Plan
from oncoseg.prepare.plan import Normalisation
from worlds import build_method, classes_task, make_batch, regions_task

TASK = classes_task(2, 32)
NETWORKS = ["unet:width=4", "unet:width=4,residual=true"]
every = pytest.mark.parametrize("network", NETWORKS)


def half(batch):
    """The left half of the cells of the coarsest grid (4 x 4) visible."""
    visible = torch.zeros(len(batch), 1, 4, 4)
    visible[:, :, :2] = 1
    return visible


@every
def test_masked_voxels_change_nothing_visible(network):
    method, batch = build_method("spark", TASK, network), make_batch(TASK)
    visible = method.draw(batch)
    hidden = 1 - at(visible, (32, 32))
    other = batch.but(image=batch.image + 100 * hidden * torch.randn_like(batch.image))
    for one, two in zip(method.encode(batch, visible), method.encode(other, visible)):
        assert one.abs().sum() > 0
        assert torch.equal(one, two)


@every
def test_masked_sites_are_0_after_every_convolution_and_norm(network):
    method, batch = build_method("spark", TASK, network), make_batch(TASK)
    visible, seen = method.draw(batch), []

    def look(module, _, out):
        assert not (out * (1 - at(visible, tuple(out.shape[2:])))).any(), type(module).__name__
        seen.append(module)

    for module in method.network.modules():
        if isinstance(module, (nn.Conv2d, NormAct, nn.LeakyReLU)):
            module.register_forward_hook(look)
    method.encode(batch, visible)
    assert len(seen) >= 2 * 2 * 4


@every
def test_what_is_visible_is_encoded_as_if_it_were_all_there_is(network):
    """Submanifold convolution: the left half alone gives what the left half of a crop gives."""
    method, batch = build_method("spark", TASK, network), make_batch(TASK)
    method.network.eval()
    names = ("image", "present", "label", "weight")
    crop = batch.but(**{name: getattr(batch, name)[:, :, :16] for name in names})
    for whole, alone in zip(method.encode(batch, half(batch)), method.network.encode(crop)):
        rows = alone.shape[2]
        assert torch.allclose(whole[:, :, :rows], alone, atol=1e-4)
        assert not whole[:, :, rows:].any()


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(6, momentum=0.3),
        nn.InstanceNorm2d(6, affine=True),
        nn.GroupNorm(3, 6),
        nn.BatchNorm2d(6).eval(),
    ],
    ids=lambda norm: type(norm).__name__ + ("" if norm.training else " evaluated"),
)
def test_a_norm_over_visible_sites_is_the_norm_of_those_alone(norm):
    torch.manual_seed(0)
    features, visible = torch.randn(3, 6, 8, 8) * 2 + 1, torch.zeros(3, 1, 2, 2)
    visible[:, :, 0] = 1
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    alone = norm(features[:, :, :4])
    after = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.load_state_dict(before)
    found = normalised(norm, features, at(visible, (8, 8)))
    assert torch.allclose(found[:, :, :4], alone, atol=1e-5)
    assert not found[:, :, 4:].any()
    for name, value in norm.state_dict().items():
        assert torch.allclose(value, after[name], atol=1e-5), name


def test_the_network_is_as_before_afterwards():
    network, batch = registry.build("networks", "unet:width=4", TASK).eval(), make_batch(TASK)
    before = network(batch)[0]
    with sparse(network, half(batch)):
        assert not torch.equal(network(batch)[0], before)
    assert torch.equal(network(batch)[0], before)


@pytest.mark.parametrize(("ratio", "masked"), [(0.6, 10), (0.75, 12), (0.01, 1), (0.99, 15)])
def test_so_many_cells_are_masked_in_each_item(ratio, masked):
    method, batch = build_method("spark", TASK, NETWORKS[0]), make_batch(TASK, 5)
    method.ratio = ratio
    visible = method.draw(batch)
    assert (16 - visible.sum((1, 2, 3))).tolist() == [masked] * 5
    assert len({tuple(item.flatten().tolist()) for item in visible}) > 1


def test_the_loss_is_the_squared_error_of_normalised_masked_voxels(monkeypatch):
    method, batch = build_method("spark", TASK, NETWORKS[0]), make_batch(TASK)
    monkeypatch.setattr(method, "draw", lambda _: half(batch))
    monkeypatch.setattr(method.decoder, "forward", lambda *_: torch.zeros_like(batch.image))
    # A cell normalised by its own mean and deviation has a mean square of 1.
    assert float(method.losses(batch, 0)["reconstruction"]) == pytest.approx(1, abs=1e-3)
    absent = batch.but(weight=batch.weight * 0)
    assert float(method.losses(absent, 0)["reconstruction"]) == 0


def test_a_network_for_the_task_starts_from_all_but_the_head(tmp_path):
    method = build_method("spark", regions_task(2, 32), NETWORKS[0])
    pretext = registry.load("methods", "spark").pretext(regions_task(2, 32))
    path, schemes = tmp_path / "looked.onco", dict.fromkeys(pretext.modalities, Normalisation())
    save_model(path, method.result, NETWORKS[0], Plan(pretext, schemes), {}, "")
    task = regions_task(2, 32)
    network = registry.build("networks", NETWORKS[0], task)
    fresh = open_model(path).start(network, task).initialised
    assert {name.split(".")[0] for name in fresh} == {"heads"}
    for name, value in network.state_dict().items():
        if name not in fresh:
            assert torch.equal(value, method.network.state_dict()[name].half().float())


@pytest.mark.parametrize("ratio", [0, 1])
def test_a_ratio_that_leaves_nothing_is_refused(ratio):
    with pytest.raises(BadOption, match="a ratio between 0 and 1"):
        registry.build("methods", f"spark:ratio={ratio}", None, TASK, None)
