"""A loss, gradient or weight that is no number: back with a lower rate, never into a checkpoint."""

import json

import pytest
import torch

from oncoseg import checkpoint
from oncoseg.errors import BadRun
from oncoseg.model import open_model
from oncoseg.train import train
from oncoseg.train.loop import Loop
from runs import lines, loop_of, toy_data, toy_run, warnings_of


@pytest.fixture
def run(tmp_path):
    task, _ = toy_data(tmp_path / "data", 2, 6, dims=2, size=24)
    return toy_run(tmp_path, task, steps=10)


def breaking(monkeypatch, times, at=7):
    """The weights are no numbers any more after step `at`, so many times."""
    genuine, left = Loop._step, [times]

    def broken(self, batch, step):
        losses = genuine(self, batch, step)
        if step == at and left[0]:
            left[0] -= 1
            with torch.no_grad():
                next(self.method.parameters()).fill_(float("nan"))
        return losses

    monkeypatch.setattr(Loop, "_step", broken)


def test_a_broken_loss_goes_back_with_a_lower_rate_and_says_so(run, monkeypatch, caplog):
    breaking(monkeypatch, 2)
    train(run)
    assert warnings_of(caplog) == [
        "loss or gradient is no longer a number at step 8; going back to step 7, "
        f"with a rate of {rate}"
        for rate in ("0.0003", "9e-05")
    ]
    said = lines(run)
    assert [line["step"] for line in said] == [*range(1, 8), 7, 7, 8, 9, 10]
    assert [line["broke"] for line in said if "broke" in line] == [8, 8]
    assert open_model(run.to).card["went_back_at_steps"] == [8, 8]
    last, header = checkpoint.read(run.folder / "last.safetensors")
    assert all(value.isfinite().all() for value in last.values())
    assert json.loads(header["progress"])["broke"] == [8, 8]


@pytest.mark.parametrize("value", [1e30, float("inf"), float("nan")])
def test_a_gradient_that_clipping_would_make_nothing_of_goes_back(run, monkeypatch, caplog, value):
    """Of 1e30 the norm is infinite, its share of it 0: a step that teaches nothing, unseen."""
    genuine, left = Loop._step, [1]

    def spoilt(self, batch, step):
        parameter = next(self.method.parameters())
        spoils = parameter.register_hook(lambda gradient: torch.full_like(gradient, value))
        if step != 7 or not left[0]:
            spoils.remove()
        left[0] -= step == 7 and left[0]
        losses = genuine(self, batch, step)
        spoils.remove()
        return losses

    monkeypatch.setattr(Loop, "_step", spoilt)
    train(run)
    assert "loss or gradient is no longer a number at step 8; going back" in warnings_of(caplog)[0]
    assert [line["broke"] for line in lines(run) if "broke" in line] == [8]
    assert open_model(run.to).card["went_back_at_steps"] == [8]


def test_going_back_is_bounded_and_the_last_checkpoint_is_sound(run, monkeypatch):
    breaking(monkeypatch, 99)
    with pytest.raises(BadRun, match="no longer a number at step 8, also after going back 3 times"):
        train(run)
    last, _ = checkpoint.read(run.folder / "last.safetensors")
    assert all(value.isfinite().all() for value in last.values())


def test_weights_that_are_no_numbers_are_no_start(run):
    broken = loop_of(run)
    with torch.no_grad():
        next(broken.method.parameters()).fill_(float("inf"))
    with pytest.raises(BadRun, match="to start from are not all numbers"):
        broken()
    assert not (run.folder / "last.safetensors").exists()
