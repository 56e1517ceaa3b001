"""A checkpoint is whole or refused, and going on from it changes nothing."""

import pytest
import torch
from safetensors.torch import save_file

from oncoseg import checkpoint, registry
from oncoseg.blocks.ema import Ema
from oncoseg.checkpoint import Progress
from oncoseg.errors import BadFile
from worlds import make_batch, regions_task

TASK = regions_task(2, 16, ("a", "b"))


class State:
    """What a run has of state: method, average, optimiser."""

    def __init__(self, seed=0, width=4):
        torch.manual_seed(seed)
        network = registry.build("networks", f"unet:width={width}", TASK)
        loss = registry.build("losses", "dice_ce", exclusive=TASK.exclusive)
        self.method = registry.build("methods", "supervised", network, TASK, loss)
        self.average = Ema(self.method.result, 0.9)
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
        self.modules = {"method": self.method, "average": self.average}

    def train(self, start, stop):
        for step in range(start, stop):
            loss = self.method.losses(make_batch(TASK, seed=step), step)["segmentation"]
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.average.update(self.method.result)
        return self


@pytest.fixture
def saved(tmp_path):
    state = State().train(0, 3)
    path = tmp_path / "é" / "last.safetensors"
    progress = Progress(3, 1.5, 0.25, 2)
    return checkpoint.save(path, state.modules, state.optimiser, progress), progress


def equal(first, second):
    return all(
        torch.equal(value, second.modules[name].state_dict()[key])
        for name, module in first.modules.items()
        for key, value in module.state_dict().items()
    )


def test_going_on_equals_never_having_stopped_to_the_bit(saved):
    path, progress = saved
    other = State(seed=1)  # everything must come from the file
    assert checkpoint.load(path, other.modules, other.optimiser) == progress
    whole = State().train(0, 6)
    assert not equal(whole, other)
    assert equal(whole, other.train(3, 6))
    ours = whole.optimiser.state_dict()["state"]
    for index, entry in other.optimiser.state_dict()["state"].items():
        assert all(torch.equal(value, ours[index][name]) for name, value in entry.items())
    assert int(other.average.updates) == 6


def test_the_optimiser_matters_for_that(saved):
    path, _ = saved
    other = State(seed=1)
    forgetful = torch.optim.AdamW(other.method.parameters(), lr=1e-2)
    checkpoint.load(path, other.modules, torch.optim.AdamW(other.method.parameters(), lr=1e-2))
    other.optimiser = forgetful
    assert not equal(State().train(0, 6), other.train(3, 6))


@pytest.mark.parametrize("share", [0, 4, 0.01, 0.3, 0.9, -1])
def test_a_cut_file_is_refused(saved, share):
    path, _ = saved
    content = path.read_bytes()
    length = int(share * len(content)) if 0 < share < 1 else share
    path.write_bytes(content[:length])
    state = State()
    with pytest.raises(BadFile, match=r"last\.safetensors: is not a whole checkpoint") as caught:
        checkpoint.load(path, state.modules, state.optimiser)
    assert "\n" not in str(caught.value)
    assert equal(state, State())


def test_an_absent_file_is_refused(tmp_path):
    state = State()
    with pytest.raises(BadFile, match=r"none\.safetensors"):
        checkpoint.load(tmp_path / "none.safetensors", state.modules, state.optimiser)


def test_another_network_is_refused_in_one_sentence(saved):
    path, _ = saved
    wider = State(width=5)
    with pytest.raises(BadFile, match=r"does not fit this run .* without --resume") as caught:
        checkpoint.load(path, wider.modules, wider.optimiser)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("header", [None, {"progress": "{"}, {"progress": '{"epoch": 1}'}])
def test_a_checkpoint_without_progress_is_refused(saved, header):
    path, _ = saved
    tensors, _ = checkpoint.read(path)
    save_file(tensors, path, metadata=header)
    state = State()
    with pytest.raises(BadFile, match="does not fit this run"):
        checkpoint.load(path, state.modules, state.optimiser)


def test_a_write_that_was_killed_leaves_the_former_checkpoint(saved, monkeypatch):
    path, progress = saved
    part = path.with_name(".0123456789ab.part.last.safetensors")
    part.write_bytes(b"half")  # as a process that was killed leaves it
    state = State(seed=1)
    assert checkpoint.load(path, state.modules, state.optimiser) == progress

    def killed(tensors, target, metadata):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr("oncoseg.checkpoint.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, state.modules, state.optimiser, Progress())
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [part.name, path.name]
