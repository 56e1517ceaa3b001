"""A checkpoint is whole or refused, and going on from it changes nothing."""

import logging
import random
import shutil

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from oncoseg import checkpoint, registry
from oncoseg.blocks.ema import Ema
from oncoseg.checkpoint import Progress
from oncoseg.errors import BadFile, DiskFull
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
    with pytest.raises(BadFile, match="checksum is of other bytes"):
        checkpoint.read(path)
    digest = checkpoint._digest(tensors, (header or {}).get("progress", ""))
    save_file(tensors, path, metadata={**(header or {}), "sha256": digest})
    state = State()
    with pytest.raises(BadFile, match="does not fit this run"):
        checkpoint.load(path, state.modules, state.optimiser)


def test_a_flipped_bit_anywhere_is_seen(saved):
    path, _ = saved
    content, tensors = path.read_bytes(), load_file(path)
    header = 8 + int.from_bytes(content[:8], "little")
    draw = random.Random(0)
    places = [*range(0, header, 97), *(draw.randrange(header, len(content)) for _ in range(20))]
    unseen = 0
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            found, _ = checkpoint.read(path)
        except checkpoint.Damaged:
            pass
        else:  # what no reader looks at, such as the blanks that pad the header
            unseen += 1
            assert found.keys() == tensors.keys()
            assert all(torch.equal(found[name], value) for name, value in tensors.items())
            assert place < header
    assert unseen < 0.1 * len(places)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(saved, caplog):
    path, before = saved
    state = State(seed=1)
    checkpoint.load(path, state.modules, state.optimiser)
    state.train(3, 5)
    checkpoint.save(path, state.modules, state.optimiser, Progress(5))
    assert checkpoint.load(checkpoint.older(path), state.modules, state.optimiser) == before
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    other = State(seed=2)
    with caplog.at_level(logging.WARNING):
        assert checkpoint.resume(path, other.modules, other.optimiser) == before
    (said,) = caplog.messages
    assert "last.safetensors: is not a whole checkpoint" in said
    assert said.endswith("going on from the one before, at step 3")
    assert equal(other, State().train(0, 3))
    assert checkpoint.read(path)[1] == checkpoint.read(checkpoint.older(path))[1]
    path.write_bytes(content)
    checkpoint.older(path).write_bytes(b"")
    with pytest.raises(BadFile, match=r"last\.before\.safetensors: is not a whole checkpoint"):
        checkpoint.resume(path, other.modules, other.optimiser)
    path.unlink()
    assert checkpoint.found(path)
    checkpoint.older(path).unlink()
    assert not checkpoint.found(path)


def test_a_disk_without_links_keeps_the_one_before_as_well(saved, monkeypatch):
    path, before = saved
    state = State()

    def none(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr("os.link", none)
    checkpoint.save(path, state.modules, state.optimiser, Progress(9))
    assert checkpoint.load(checkpoint.older(path), state.modules, state.optimiser) == before
    assert checkpoint.load(path, state.modules, state.optimiser) == Progress(9)


def test_a_full_disk_is_told_from_other_faults(saved, monkeypatch):
    path, before = saved
    state = State(seed=1)
    for number, kind in ((28, DiskFull), (5, BadFile)):

        def fails(*_, number=number, **__):
            raise SafetensorError(f"I/O error: whatever (os error {number})")

        monkeypatch.setattr(checkpoint, "save_file", fails)
        with pytest.raises(BadFile, match="could not be written") as said:
            checkpoint.save(path, state.modules, state.optimiser, Progress(9))
        assert type(said.value) is kind
        assert checkpoint.load(path, state.modules, state.optimiser) == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("stage", ["save_file", "fsync", "link", "replace"])
def test_a_save_that_ends_at_any_stage_leaves_a_whole_checkpoint(saved, monkeypatch, stage):
    path, before = saved
    state = State().train(0, 4)

    def ends(*_, **__):
        raise KeyboardInterrupt

    place = {"save_file": "oncoseg.checkpoint.save_file", "replace": "pathlib.Path.replace"}
    with monkeypatch.context() as patch:
        patch.setattr(place.get(stage, f"os.{stage}"), ends)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(path, state.modules, state.optimiser, Progress(4))
    assert checkpoint.resume(path, State().modules, state.optimiser) == before
    state.train(4, 5)
    checkpoint.save(path, state.modules, state.optimiser, Progress(5))
    assert checkpoint.resume(path, state.modules, state.optimiser) == Progress(5)
    shutil.copyfile(checkpoint.older(path), path)
    assert checkpoint.resume(path, state.modules, state.optimiser) == before


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
