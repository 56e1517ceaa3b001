"""FedProx: the pull is mu / 2 times the squared distance, its gradient mu (w - w_received)."""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadOption
from worlds import build_method, classes_task


@pytest.fixture
def method():
    return build_method("supervised", classes_task(2, 16), "unet:width=4,blocks=1")


def moved(method, by):
    """What a site received: its weights, each moved by as much."""
    state = method.network.state_dict()
    return {name: value.detach().clone() - by for name, value in state.items()}


def test_the_pull_is_half_mu_times_the_squared_distance(method):
    held = registry.build("strategies", "fedprox:pull=0.5").hold(method, moved(method, 2.0))
    count = sum(value.numel() for value in method.network.parameters())
    assert float(held["proximal"].detach()) == pytest.approx(0.25 * 4 * count, rel=1e-5)
    held["proximal"].backward()
    for value in method.network.parameters():
        assert torch.allclose(value.grad, torch.full_like(value, 0.5 * 2.0), atol=1e-6)


def test_parameters_that_were_not_received_are_free(method):
    received = moved(method, 1.0)
    name = next(name for name, _ in method.network.named_parameters())
    received.pop(name)
    registry.build("strategies", "fedprox").hold(method, received)["proximal"].backward()
    assert dict(method.network.named_parameters())[name].grad is None


def test_no_pull_adds_nothing(method):
    assert registry.build("strategies", "fedprox:pull=0").hold(method, moved(method, 1.0)) == {}


def test_a_push_is_refused():
    with pytest.raises(BadOption, match="a pull of 0 or more, not -1"):
        registry.build("strategies", "fedprox:pull=-1")
