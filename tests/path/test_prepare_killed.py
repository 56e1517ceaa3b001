"""Preparing that is killed at any instant, or runs out of room, goes on to the same store."""

import shutil
import subprocess

import blosc2
import numpy as np
import pytest

from oncoseg import files, phantom
from oncoseg.errors import BadData, BadFile
from oncoseg.prepare import open_store, prepare


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    for case in phantom.world(2, 3, dims=2, size=24)[1]:
        phantom.write(case, folder / "data", layout="folders")
    store = folder / "whole"
    prepare(folder / "data", store)
    return folder / "data", store


def same(store, whole):
    assert (store / "plan.json").read_bytes() == (whole / "plan.json").read_bytes()
    for case, other in zip(open_store(store), open_store(whole), strict=True):
        assert {**case.record, "look": 0} == {**other.record, "look": 0}
        for name in ("image", "present", "label"):
            assert np.array_equal(case.read(name), other.read(name)), name


@pytest.mark.parametrize("count", range(1, 10))
def test_killed_inside_any_array_it_goes_on_to_the_same(world, tmp_path, monkeypatch, count):
    data, whole = world
    genuine, calls = blosc2.asarray, []

    def killed(array, *, urlpath, **options):
        calls.append(urlpath)
        if len(calls) >= count:
            genuine(array, urlpath=urlpath, **options)
            with open(urlpath, "rb+") as handle:  # noqa: PTH123 - a text, not a path
                handle.truncate(40)
            raise KeyboardInterrupt
        return genuine(array, urlpath=urlpath, **options)

    with monkeypatch.context() as patch:
        patch.setattr(blosc2, "asarray", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(data, tmp_path)
    assert not (tmp_path / "plan.json").exists()
    prepare(data, tmp_path)
    same(tmp_path, whole)


@pytest.mark.parametrize("name", ["case.json", "plan.json"])
def test_killed_before_a_record_it_goes_on_to_the_same(world, tmp_path, monkeypatch, name):
    data, whole = world
    genuine = files.write_text

    def killed(path, content):
        if path.name == name:
            raise KeyboardInterrupt
        return genuine(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(data, tmp_path)
    if name == "case.json":
        with pytest.raises(BadData, match="holds no prepared cases"):
            open_store(tmp_path)
    prepare(data, tmp_path)
    same(tmp_path, whole)


def test_a_full_disk_is_a_sentence_and_leaves_no_half_case(world, tmp_path):
    data, whole = world
    disk = tmp_path / "disk"
    disk.mkdir()
    given = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)]
    mounts = shutil.which("mount") and subprocess.run(given, capture_output=True, check=False)
    if not mounts or mounts.returncode:
        pytest.skip("may not mount a small disk")
    try:
        with pytest.raises(BadFile, match=r"could not be written .*; (make room|free some space)"):
            prepare(data, disk)
        assert not (disk / "plan.json").exists()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        prepare(data, disk)
        same(disk, whole)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
