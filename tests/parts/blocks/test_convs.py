"""Convolutions: gradients in bfloat16 are those in float32, however thin the features are."""

import pytest

torch = pytest.importorskip("torch")
from oncoseg.blocks.convs import CONV, TRANSPOSED  # noqa: E402
from oncoseg.blocks.resnet_v2 import standard  # noqa: E402


def gradients(shape, kernel, layout, groups=1):
    """Of the weights of a convolution, in bfloat16 and in float32."""
    torch.manual_seed(0)
    conv = CONV[len(shape)](16, 16, kernel, padding="same", groups=groups)
    return gradients_of(conv, shape, layout)


def gradients_of(conv, shape, layout):
    """Of all its weights, in bfloat16 and in float32."""
    conv = conv.to(memory_format=layout)
    channels = getattr(conv, "in_channels", 16)
    features = torch.randn(2, channels, *shape).contiguous(memory_format=layout)
    gradient, found = torch.randn(conv(features).shape), []
    for half in (True, False):
        freed = [
            torch.full((16 * 16 * 125,), 1e30) for _ in range(3)
        ]  # what unwritten memory holds
        del freed
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = conv(features)
        assert value.dtype == (torch.bfloat16 if half else torch.float32)
        weight = next(conv.parameters())
        found.append(torch.autograd.grad(value, weight, gradient.to(value.dtype))[0])
    return found


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((2, 4, 4), 3),
        ((2, 2, 2), 3),
        ((1, 4, 4), 3),
        ((2, 8, 8), (3, 1, 3)),
        ((4, 6, 6), 5),
        ((8, 1, 8), 5),
        ((3, 1, 6), (1, 7, 1)),
        ((2, 2, 2), (1, 7, 1)),
        ((4, 12, 2), (5, 3, 5)),
        ((8, 8, 2), (1, 1, 7)),
    ],
)
def test_thin_features_have_the_gradient_of_float32(shape, kernel, layout):
    half, exact = gradients(shape, kernel, layout)
    assert (half - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize(("shape", "kernel"), [((12, 1), (1, 3)), ((12, 1), (3, 5)), ((2, 9), 5)])
def test_thin_pictures_have_it_too(shape, kernel):
    half, exact = gradients(shape, kernel, torch.channels_last, groups=16)
    assert (half - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((2, 4, 4), torch.contiguous_format), ((2, 2, 2), torch.channels_last_3d)],
)
def test_standardised_weights_have_it_as_well(shape, layout):
    torch.manual_seed(0)
    half, exact = gradients_of(standard(3, 16, 16, 3, padding=1), shape, layout)
    assert (half - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 4, 4), (2, 8, 8)])
def test_thin_features_that_are_brought_up_in_plane_alone_have_it_as_well(shape, layout):
    torch.manual_seed(0)
    up = TRANSPOSED[3](16, 16, 3, (1, 2, 2), 1, (0, 1, 1))
    half, exact = gradients_of(up, shape, layout)
    assert (half - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize(("kernel", "gap"), [(3, 2), (5, 3), (7, 3)])
def test_channels_apart_with_gaps_have_it_as_well(kernel, gap):
    torch.manual_seed(0)
    conv = CONV[2](64, 64, kernel, padding="same", dilation=gap, groups=64)
    half, exact = gradients_of(conv, (48, 48), torch.channels_last)
    assert (half - exact).abs().max() < 0.02 * exact.abs().max()


def test_strided_convolutions_of_one_pixel_are_torchs_with_their_gradients():
    torch.manual_seed(0)
    conv = CONV[2](16, 24, 1, (2, 1)).to(memory_format=torch.channels_last)
    features = torch.randn(2, 16, 9, 8).contiguous(memory_format=torch.channels_last)
    features.requires_grad_()
    rows = features.detach().contiguous().requires_grad_()
    expected = torch.nn.functional.conv2d(rows, conv.weight.contiguous(), conv.bias, (2, 1))
    found = conv(features)
    torch.testing.assert_close(found, expected)
    slope = torch.randn_like(expected)
    for mine, theirs in zip(
        torch.autograd.grad(found, (features, conv.weight), slope),
        torch.autograd.grad(expected, (rows, conv.weight), slope),
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert "Slice" in str(next(iter(found.grad_fn.next_functions))[0])
