"""A full disk: training waits for room, an hour at most, and goes on as if nothing had been."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from oncoseg.errors import BadFile, DiskFull
from oncoseg.train import keep as module
from oncoseg.train import prepared
from oncoseg.train.loop import Loop
from runs import lines, loop_of, toy_data, toy_run, warnings_of


@pytest.fixture
def tiny(tmp_path):
    """A disk of half a megabyte, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    given = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    mounts = shutil.which("mount") and subprocess.run(given, capture_output=True, check=False)
    if not mounts or mounts.returncode:
        pytest.skip("may not mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_pauses_the_run_until_there_is_room(tmp_path, tiny, monkeypatch, caplog):
    task, _ = toy_data(tmp_path / "data", 2, 6, dims=2, size=24)
    run = toy_run(tmp_path, task, steps=10)
    run = replace(run, data=str(prepared(run)), to=str(tiny / "model.onco"))
    ballast, waits = tiny / "ballast", []
    genuine = Loop._step

    def filled(self, batch, step):
        if step == 4:
            with suppressed(), ballast.open("wb", buffering=0) as handle:
                while True:
                    handle.write(bytes(4096))
        return genuine(self, batch, step)

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            ballast.unlink()

    monkeypatch.setattr(Loop, "_step", filled)
    monkeypatch.setattr("time.sleep", wait)
    loop_of(run)()
    assert waits == [module.WAIT] * 3
    (said,) = warnings_of(caplog)
    assert "the disk is full; training waits for room (up to 60 minutes) and then goes on" in said
    assert [line["step"] for line in lines(run)] == list(range(1, 11))


def suppressed():
    return pytest.raises(OSError, match="No space left")


def test_the_wait_for_room_ends_with_the_hour_or_a_stop(tmp_path, monkeypatch):
    def full():
        raise DiskFull(tmp_path / "last", "could not be written", "free some space")

    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    with pytest.raises(DiskFull):
        module.patiently(full, module.Stop(tmp_path))
    assert clock[0] == module.PATIENCE
    (tmp_path / "stop").touch()
    with pytest.raises(DiskFull):
        module.patiently(full, module.Stop(tmp_path))
    assert clock[0] == module.PATIENCE

    def forbidden():
        raise BadFile(tmp_path / "last", "could not be written (Permission denied)", "")

    (tmp_path / "stop").unlink()
    with pytest.raises(BadFile, match="Permission"):
        module.patiently(forbidden, module.Stop(tmp_path))
