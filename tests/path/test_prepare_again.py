"""A case is read once, and prepared again only if one of its files or the plan has changed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from oncoseg import phantom
from oncoseg.errors import BadData
from oncoseg.prepare import Plan, look, prepare
from oncoseg.read import read_case
from runs import toy_data


@pytest.fixture
def world(tmp_path):
    """Four small labelled patients on disk, and what prepares them."""
    task, cases = toy_data(tmp_path / "data", 0, 4, size=20)
    told = []

    def again(store="store", **options):
        told.clear()
        options = {"labels": task.labels, "regions": task.regions, **options}
        prepare(tmp_path / "data", tmp_path / store, tell=told.append, **options)
        return written(tmp_path / store)

    return tmp_path, cases, again, told


def written(store):
    """When each case of a store was written, by name."""
    return {path.parent.name: path.stat().st_mtime_ns for path in store.glob("*/case.json")}


def content(store):
    """All that a store holds, by the name of the file."""
    files = (path for path in store.rglob("*") if path.is_file())
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


def test_each_case_is_read_once(world, monkeypatch):
    folder, cases, again, _ = world
    read = []
    for module in ("oncoseg.prepare", "oncoseg.prepare.look"):
        monkeypatch.setattr(
            f"{module}.read_case", lambda s, **o: read.append(s.case) or read_case(s, **o)
        )
    again()
    assert sorted(read) == [case.id for case in cases]
    monkeypatch.setattr(look, "KEPT", 0)
    again("small")
    assert sorted(read[4:]) == sorted(2 * [case.id for case in cases])
    assert content(folder / "store") == content(folder / "small")


def test_one_thread_makes_what_many_make(world, monkeypatch):
    folder, _, again, _ = world
    again()
    monkeypatch.setattr(look.os, "cpu_count", lambda: 1)
    again("single")
    assert content(folder / "store") == content(folder / "single")


def test_a_changed_case_alone_is_made_again(world):
    folder, cases, again, told = world
    first = again()
    assert told == []
    assert again() == first
    assert told == ["4 of 4 cases are prepared already"]
    volume = cases[1].images["a"]
    moved = replace(volume, array=volume.array + np.float32(1))
    shutil.rmtree(folder / "data" / cases[1].id)
    phantom.write(
        replace(cases[1], images={**cases[1].images, "a": moved}),
        folder / "data",
        layout="folders",
    )
    after = again()
    assert {name for name in first if after[name] != first[name]} == {cases[1].id}
    assert told == ["3 of 4 cases are prepared already"]
    again("fresh")
    assert content(folder / "store") == content(folder / "fresh")


def test_cases_come_and_go(world):
    folder, cases, again, _ = world
    first = again()
    shutil.rmtree(folder / "data" / cases[0].id)
    after = again()
    assert after == {name: first[name] for name in first if name != cases[0].id}
    phantom.write(cases[0], folder / "data", layout="folders")
    assert {name for name, when in again().items() if first[name] != when} == {cases[0].id}
    again("fresh")
    assert content(folder / "store") == content(folder / "fresh")


def test_another_plan_makes_all_again_and_says_why(world):
    folder, _, again, told = world
    first = again()
    plan = Plan.read(folder / "store" / "plan.json")
    edited = replace(plan, task=replace(plan.task, spacing=(2.0, 2.0, 2.0)))
    after = again(plan=edited.write(folder / "edited.json"))
    assert all(after[name] != first[name] for name in first)
    (said,) = told
    assert said.startswith("all cases are prepared again, since the plan has changed: ")
    assert said.endswith("spacing was [1.0, 1.0, 1.0], is [2.0, 2.0, 2.0]")


def test_another_patch_leaves_the_arrays_as_they_are(world):
    folder, _, again, _ = world
    first = again()
    plan = Plan.read(folder / "store" / "plan.json")
    edited = replace(plan, batch=7, task=replace(plan.task, patch=(16, 16, 16)))
    path = edited.write(folder / "edited.json")
    assert again(plan=path) == first
    assert Plan.read(folder / "store" / "plan.json").batch == 7


@pytest.mark.parametrize("harm", ["gone", "cut", "record"])
def test_what_was_damaged_is_made_again(world, harm):
    folder, cases, again, _ = world
    again()
    whole = content(folder / "store")
    array = folder / "store" / cases[2].id / "image.b2nd"
    record = array.with_name("case.json")
    if harm == "gone":
        array.unlink()
    elif harm == "cut":
        array.write_bytes(array.read_bytes()[:40])
    else:
        record.write_text(json.dumps({**json.loads(record.read_text()), "look": 3}))
    again()
    assert content(folder / "store") == whole


def test_a_twin_of_a_case_that_stays_is_refused(world):
    folder, cases, again, _ = world
    again()
    phantom.write(replace(cases[0], id="twin", patient="twin"), folder / "data", layout="folders")
    with pytest.raises(BadData, match="cases twin and world_000 hold the same a image"):
        again()


def test_intensities_are_drawn_alike_whatever_else_there_is():
    _, (case,) = phantom.world(0, 1, size=32)
    label = next(iter(case.labels.values()))
    big = replace(label, array=np.ones_like(label.array))
    images = {"t1": case.images["b"], "pet": case.images["a"]}
    both = replace(case, images=images, labels=dict.fromkeys(images, big))
    alone = replace(both, images={"pet": images["pet"]})
    drawn = look.intensities(both)
    assert list(drawn) == ["pet"]  # units that mean nothing are scaled by each image itself
    assert len(drawn["pet"]) == look.POINTS
    assert np.array_equal(drawn["pet"], look.intensities(alone)["pet"])
    assert np.array_equal(look.unpacked(look.packed(drawn["pet"])), drawn["pet"])


def test_all_beside_a_slice_or_a_header_belongs_to_a_case(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz", "c.mhd", "c.raw", "d"):
        (tmp_path / name).write_bytes(b"x")
    assert look.belonging(tmp_path / "a.nii.gz") == [tmp_path / "a.nii.gz"]
    for path in (tmp_path / "c.mhd", tmp_path / "d", tmp_path):
        assert len(look.belonging(path)) == 5


def test_no_more_threads_than_memory_allows_and_some_where_it_is_not_known(monkeypatch):
    asked = []

    class Pool(look.ThreadPoolExecutor):
        def __init__(self, threads, **options):
            asked.append(threads)
            super().__init__(threads, **options)

    monkeypatch.setattr(look, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(look.os, "cpu_count", lambda: 16)
    for free in (0, 1, 4 * look.EACH):
        monkeypatch.setattr(look.memory, "available", lambda free=free: free)
        assert list(look.each(str, range(30), "count")) == [str(number) for number in range(30)]
    assert asked == [look.UNKNOWN // look.EACH, 1, 4]
