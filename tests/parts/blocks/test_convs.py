"""Convolutions: gradients in bfloat16 are those in float32, however thin the features are."""

import pytest

torch = pytest.importorskip("torch")
from oncoseg.blocks.convs import CONV  # noqa: E402


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(
    ("shape", "kernel"),
    [((2, 4, 4), 3), ((2, 2, 2), 3), ((1, 4, 4), 3), ((2, 8, 8), (3, 1, 3)), ((4, 6, 6), 5)],
)
def test_thin_features_have_the_gradient_of_float32(shape, kernel, layout):
    torch.manual_seed(0)
    conv = CONV[3](16, 16, kernel, padding="same").to(memory_format=layout)
    features = torch.randn(2, 16, *shape).contiguous(memory_format=layout)
    gradient, found = torch.randn(2, 16, *shape), []
    for half in (True, False):
        freed = [
            torch.full((16 * 16 * 125,), 1e30) for _ in range(3)
        ]  # what unwritten memory holds
        del freed
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = conv(features)
        assert value.dtype == (torch.bfloat16 if half else torch.float32)
        found.append(torch.autograd.grad(value, conv.weight, gradient.to(value.dtype))[0])
    assert (found[0] - found[1]).abs().max() < 0.02 * found[1].abs().max()
