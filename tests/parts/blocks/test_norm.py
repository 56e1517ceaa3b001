"""The normalisation that keeps its layout: equal to torch's two operations, gradients too."""

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from oncoseg.blocks.norm import LAYOUT, LayerNorm, NormAct, channels_last  # noqa: E402

SHAPES = [(3, 4, 6, 5), (2, 3, 4, 6, 5), (1, 2, 3, 3, 3)]


def drawn(shape, slope, kind=torch.float64):
    """A module whose parameters are not one and zero, and features in channels-last layout."""
    generator = torch.Generator().manual_seed(0)
    module = NormAct(shape[1], slope=slope)
    for value in module.parameters():
        torch.nn.init.normal_(value, generator=generator)
    features = (3 + 2 * torch.randn(shape, generator=generator)).to(kind)
    return module, features.contiguous(memory_format=LAYOUT[len(shape)]).requires_grad_()


def plain(module, features):
    found = F.instance_norm(features, weight=module.weight, bias=module.bias)
    return F.leaky_relu(found, module.slope)


@pytest.mark.parametrize("slope", [0.01, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_two_operations(shape, slope):
    module, features = drawn(shape, slope)
    module = module.double()
    gradient = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = []
    for run in (module, lambda given: plain(module, given)):
        value = run(features)
        asked = (features, module.weight, module.bias)
        found.append((value.detach(), *torch.autograd.grad(value, asked, gradient)))
    for mine, theirs in zip(*found):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_layout_is_kept_forth_and_back(shape):
    module, features = drawn(shape, 0.01, torch.bfloat16)
    seen = []
    features.register_hook(seen.append)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(features)
    found.float().sum().backward()
    assert found.dtype == torch.bfloat16
    for tensor in (found, *seen):
        assert tensor.is_contiguous(memory_format=LAYOUT[len(shape)])


def test_other_layouts_and_inference_are_torchs_own():
    module, features = drawn((2, 3, 4, 6, 5), 0.01, torch.float32)
    expected = plain(module, features)
    with torch.no_grad():
        torch.testing.assert_close(module(features), expected)
    rows = features.detach().contiguous().requires_grad_()
    assert "ItemByItem" not in type(module(rows).grad_fn).__name__
    assert "ItemByItem" in type(module(features).grad_fn).__name__
    torch.testing.assert_close(module(rows), expected)


def test_a_single_voxel_is_refused_as_torch_refuses_it():
    module, features = drawn((2, 3, 1, 1, 1), 0.01, torch.float32)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        module(features)


def test_a_second_derivative_is_refused_and_not_wrong():
    module, features = drawn((2, 3, 4, 6), 0.01, torch.float32)
    (slope,) = torch.autograd.grad(module(features).pow(2).sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_weights_of_two_and_of_three_dimensions_are_laid_out_in_one_network():
    torch.manual_seed(0)
    network = torch.nn.ModuleList([torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(3, 4, 3)])
    network.append(torch.nn.Linear(3, 4))
    before = [value.detach().clone() for value in network.parameters()]
    held = list(network.parameters())
    channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(one is other for one, other in zip(held, network.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(before, held))


def test_the_gradient_of_many_tokens_is_added_up_exactly():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(20_000, 8, generator=generator).bfloat16()
    slope, found = torch.rand(20_000, 8, generator=generator).bfloat16(), []
    for half in (True, False):
        module = LayerNorm(8)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = module(tokens if half else tokens.float())
        gradients = torch.autograd.grad(value, (module.weight, module.bias), slope.to(value.dtype))
        found.append(torch.cat(gradients))
    assert (found[0] - found[1]).norm() < 0.01 * found[1].norm()
