"""HybridGNet: the published size, convolutions on graphs, contours that are always closed."""

import pytest
import torch
import torch.nn.functional as F

from oncoseg import registry
from oncoseg.blocks import graphs
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

SMALL = "hybridgnet:width=2,nodes=12,latent=8,order=3"


def built(dims=2, size=64, options=""):
    torch.manual_seed(0)
    return registry.build("networks", SMALL + options, classes_task(dims, size))


@pytest.mark.parametrize(("nodes", "millions"), [("44x50x26", 17.510), ("44x50x26x23x23", 17.535)])
def test_parameters_are_the_public_codes(nodes, millions):
    names = {f"o{value}": value for value in range(1, nodes.count("x") + 2)}
    regions = {name: (name,) for name in names}
    task = Task("t", ("cxr",), names, regions, (1.0,) * 2, (1024,) * 2, ((2, 2),) * 5)
    with torch.device("meta"):
        network = registry.build("networks", f"hybridgnet:nodes={nodes}", task)
    count = sum(value.numel() for value in network.parameters())
    assert abs(count / 1e6 - millions) < 0.0015  # odd contours are halved upwards
    code = sum(v.numel() for part in (network.mean, network.spread) for v in part.parameters())
    assert round(code / 1e6, 2) == 16.78


def test_a_convolution_is_the_polynomial_of_the_laplacian():
    torch.manual_seed(0)
    adjacency = graphs.rings([5, 4])
    assert torch.equal(adjacency.sum(1), torch.full((9,), 2.0))
    assert not adjacency[:5, 5:].any()
    laplacian = graphs.scaled_laplacian(adjacency).double()
    values, vectors = torch.linalg.eigh(laplacian)
    assert values.abs().max() <= 1 + 1e-6
    layer, nodes = graphs.ChebConv(3, 2, 6).double(), torch.randn(2, 9, 3).double()
    expected = layer.bias.clone()
    for order, weight in enumerate(layer.weight):
        spectrum = torch.cos(order * torch.acos(values.clamp(-1, 1)))
        expected = expected + vectors @ torch.diag(spectrum) @ vectors.T @ nodes @ weight
    torch.testing.assert_close(layer(nodes, laplacian), expected)


def test_unpooling_keeps_every_other_node_and_puts_one_midway():
    coarse = torch.tensor([[0.0], [2], [4], [10], [20], [30]])
    fine = graphs.unpooling([6, 5]) @ coarse
    assert fine.flatten().tolist() == [0, 1, 2, 3, 4, 2, 10, 15, 20, 25, 30]


def test_a_node_sees_the_mean_of_what_is_bilinear_round_it():
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    ramp = torch.stack([rows, columns])[None]
    places = torch.tensor([[[3.25 / 8, 2.5 / 6], [4.0 / 8, 3.0 / 6]]])
    found = graphs.looked_up(ramp, places)
    torch.testing.assert_close(found[0], torch.tensor([[3.25, 2.5], [4.0, 3.0]]))
    noise = torch.randn(1, 2, 8, 6)
    expected = noise[0, :, 3:6, 2:5].mean((1, 2))
    torch.testing.assert_close(graphs.looked_up(noise, places)[0, 1], expected)


def test_what_is_inside_has_the_area_of_the_polygon_and_distances_are_exact():
    contour = graphs.circle([60], 0.4)[None] * 100
    depth = graphs.signed_distance(contour, (100, 101))
    start, stop = contour[0], contour[0].roll(-1, 0)
    area = ((start[:, 0] * stop[:, 1] - start[:, 1] * stop[:, 0]).sum() / 2).abs()
    assert abs((depth > 0).sum() - area) < 0.01 * area
    square = torch.tensor([[[2.0, 2], [2, 6], [6, 6], [6, 2]]])
    depth = graphs.signed_distance(square, (9, 9))[0]
    expected = torch.tensor([-2.0, -1, 0, 1, 2, 1, 0, -1, -2])
    torch.testing.assert_close(depth[4], expected, atol=2e-3, rtol=0)
    assert abs(depth[0, 0] + 8**0.5) < 1e-3
    point = graphs.signed_distance(torch.full((1, 5, 2), 4.0), (9, 9))
    assert not (point > 0).any()  # a contour without area holds nothing


def test_the_distance_moves_the_contour_to_the_mask():
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    mask = ((rows - 14).square() + (columns - 19).square() < 36).float()
    contour = torch.nn.Parameter(graphs.circle([24])[None] * 32)
    optimiser = torch.optim.Adam([contour], lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(
            graphs.signed_distance(contour, (32, 32))[0], mask
        ).backward()
        optimiser.step()
    found = graphs.signed_distance(contour, (32, 32))[0] > 0
    assert 2 * (found * mask).sum() > 0.95 * (found.sum() + mask.sum())


def test_whatever_is_hidden_contours_have_their_nodes_and_are_whole():
    task = classes_task(2, 64)
    network, batch = built().eval(), make_batch(task)
    hidden = batch.but(image=batch.image * (torch.rand(2, 1, 64, 64) > 0.9))
    for each in (batch, hidden):
        pyramid = network.encode(each)
        places, first, second = network.contours(pyramid, network.code(pyramid)[0])
        assert places.shape == second.shape == (2, 24, 2)
        assert first.shape == (2, 12, 2)
        assert torch.isfinite(places).all()


def test_places_are_as_exact_under_half_precision():
    network, batch = built().eval(), make_batch(classes_task(2, 64))
    pyramid = network.encode(batch)
    code = network.code(pyramid)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = network.contours(pyramid, code)[0]
    torch.testing.assert_close(found, network.contours(pyramid, code)[0])


def test_codes_are_drawn_in_training_alone():
    task = classes_task(2, 64)
    network, batch = built(), make_batch(task)
    for module in network.encoder.modules():
        module.eval()
    assert not torch.equal(network(batch)[0], network(batch)[0])
    network.eval()
    assert torch.equal(network(batch)[0], network(batch)[0])


def test_sizes_and_volumes_come_back_whole():
    flat = built(size=37).eval()(make_batch(classes_task(2, 37)))[0]
    assert flat.shape[2:] == (37, 37)
    other = built(size=64).eval()(make_batch(classes_task(2, 100)))[0]
    assert other.shape[2:] == (100, 100)
    network, batch = built(3, 16).eval(), make_batch(classes_task(3, 16))
    whole = network(batch)[0]
    single = batch.but(
        **{name: getattr(batch, name)[..., 3:4] for name in ("image", "present", "label", "weight")}
    )
    torch.testing.assert_close(network(single)[0], whole[..., 3:4])


def test_too_few_nodes_are_refused():
    with pytest.raises(BadOption, match="at least 6 nodes"):
        registry.build("networks", "hybridgnet:nodes=4", classes_task(2))


def test_a_code_that_runs_away_stays_in_numbers():
    task = classes_task(2, 64)
    torch.manual_seed(0)
    network = registry.build("networks", "hybridgnet", task).train()
    torch.nn.init.constant_(network.spread.bias, 1e4)
    (logits,) = network(make_batch(task))
    logits.square().mean().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(one.grad).all() for one in network.parameters())


def test_a_place_that_is_no_number_writes_nowhere():
    features = torch.randn(1, 8, 16, 16, requires_grad=True)
    places = torch.full((1, 4096, 2), float("nan"), requires_grad=True)
    graphs.looked_up(features, places).sum().backward()
    assert torch.isfinite(features.grad).all()
