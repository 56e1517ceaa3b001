"""Predicting again: what is whole and says the same is kept, anything else is done anew."""

import json
import multiprocessing
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from oncoseg import files, results
from oncoseg.errors import MissingExtra
from oncoseg.predict import Predictor, predict
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.read import find, read_case
from runs import toy_data

SIZE = 16


class Opened:
    """A model that needs no training."""

    maps, card, path = (), {}, Path("m.onco")
    posthoc = {}
    unlikeness = staticmethod(lambda scan: {})

    def __init__(self, task, sha256="0"):
        self.plan = Plan(
            replace(task, patch=(8, 8, 8)), {name: Normalisation() for name in task.modalities}
        )
        self.task, self.described = self.plan.task, {"name": "stand-in", "sha256": sha256}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Three cases on disk, a model, and a list of the windows that were inferred."""
    task, cases = toy_data(tmp_path / "scans", 3, 3, size=SIZE)
    opened, windows = Opened(task), []

    def infer(image, present):
        windows.append(image)
        return np.repeat(image[:, :1], task.outputs, axis=1)

    monkeypatch.setattr("oncoseg.predict.open_model", lambda model: opened)
    monkeypatch.setattr("oncoseg.predict.make_engine", lambda *options: infer)
    return [case.id for case in cases], tmp_path, windows, opened


def again(folder, **options):
    return predict("m", folder / "scans", to=folder / "out", **options)


def test_what_is_whole_is_kept_and_the_rest_done(world):
    names, folder, windows, _ = world
    first = again(folder, cases=names[:2])
    assert first.kept == []
    count, times = len(windows), [path.stat().st_mtime_ns for path in first.done]
    second = again(folder)
    assert second.kept == names[:2]
    assert [path.stem for path in second.done] == names
    assert len(windows) - count == count / 2
    assert [path.stat().st_mtime_ns for path in first.done] == times
    assert again(folder).kept == names


def torn(folder, name):
    label = folder / "out" / f"{name}.nii.gz"
    label.write_bytes(label.read_bytes()[:-4])


def less(folder, name):
    next((folder / "out").glob(f"{name}.probability.*")).unlink()


def emptied(folder, name):
    (folder / "out" / f"{name}.json").write_text("{}", encoding="utf-8")


def earlier(folder, name):
    path = folder / "out" / f"{name}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"oncoseg": "0.0.1"}), encoding="utf-8")


def changed(folder, name):
    """One voxel of one image is another."""
    path = next((folder / "scans" / name).glob("*_image*"))
    volume = results.read_volume(path)
    volume.array[0, 0, 0] += 1
    results.write_volume(path, volume.array, volume.grid)


def fewer(folder, name):
    next((folder / "scans" / name).glob("b_image*")).unlink()


@pytest.mark.parametrize("damage", [torn, less, emptied, earlier, changed, fewer])
def test_a_case_that_differs_in_anything_is_done_anew(world, damage):
    names, folder, _, _ = world
    again(folder, probabilities=True)
    damage(folder, names[1])
    outcome = again(folder, probabilities=True)
    assert outcome.kept == [names[0], names[2]]
    results.load(folder / "out" / f"{names[1]}.json")
    assert again(folder, probabilities=True).kept == names


def test_channels_in_another_order_are_done_anew(world):
    """`dataset.json` was mended: the file is the same, and what is t1 in it is not."""
    _, folder, windows, _ = world
    shutil.rmtree(folder / "scans")
    image = np.random.default_rng(0).random((SIZE, SIZE, SIZE, 2)).astype(np.float32)
    path = folder / "scans" / "imagesTr" / "p1.nii.gz"
    path.parent.mkdir(parents=True)
    nibabel.Nifti1Image(image, np.eye(4)).to_filename(path)
    counts = []
    for order in ("ab", "ab", "ba"):
        said = {"modality": dict(enumerate(order)), "labels": {"0": "air", "1": "rim"}}
        files.write_json(folder / "scans" / "dataset.json", said)
        again(folder)
        counts.append(len(windows))
    assert counts[0] == counts[1] == counts[2] / 2


@pytest.mark.parametrize(
    "options", [{"overlap": 0.25}, {"engine": "torch"}, {"device": "gpu"}, {"probabilities": True}]
)
def test_other_options_or_another_model_are_another_prediction(world, options):
    names, folder, _, opened = world
    again(folder)
    assert again(folder, **options).kept == []
    assert again(folder, memory="60GB", **options).kept == names
    opened.described = {"name": "stand-in", "sha256": "1"}
    assert again(folder, **options).kept == []


def test_nothing_of_an_earlier_prediction_stays_beside_a_new_one(world):
    names, folder, _, _ = world
    again(folder, probabilities=True)
    again(folder)
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(
        f"{name}.{ending}" for name in names for ending in ("json", "nii.gz")
    )


def test_what_a_killed_process_left_is_swept_but_not_what_a_living_one_writes(world):
    _, folder, _, _ = world
    out = folder / "out"
    script = (
        "import os, signal, sys; from oncoseg import files\n"
        f"with files.atomic({str(out / 'a.nii.gz')!r}) as path:\n"
        "    path.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    if sys.platform != "win32":
        subprocess.run([sys.executable, "-c", script], check=False)
        assert [path.name.endswith(".part.a.nii.gz") for path in out.iterdir()] == [True]
    with files.atomic(out / "b.nii.gz") as living:
        living.write_bytes(b"half")
        again(folder)
        assert [path for path in out.iterdir() if ".part." in path.name] == [living]
    assert (out / "b.nii.gz").read_bytes() == b"half"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("where", ["write_volume", "write_prediction", "files.write_json"])
def test_whatever_ends_writing_early_leaves_nothing(world, monkeypatch, stop, where):
    names, folder, _, _ = world

    def ends(*given, **options):
        raise stop

    monkeypatch.setattr(f"oncoseg.results.{where}", ends)
    if stop is MemoryError:
        failed = again(folder).failed
        assert sorted(failed) == names
        assert "has no more memory; allow less with --memory" in failed[names[0]]
    else:
        with pytest.raises(stop):
            again(folder)
    assert not list((folder / "out").glob("*"))
    monkeypatch.undo()


def test_a_loaded_model_is_called_many_times(world):
    names, folder, windows, _ = world
    predictor = Predictor("m", probabilities=True)
    (folder / "one").mkdir()
    (folder / "scans" / names[0]).rename(folder / "one" / names[0])
    found = predictor(folder / "one")
    count = len(windows)
    case = read_case(find(folder / "one").sources[0])
    assert np.array_equal(predictor(case).label, found.label)
    assert len(windows) == 2 * count
    assert found.probability.shape == (len(found.task.regions), SIZE, SIZE, SIZE)
    assert found.model["name"] == "stand-in"
    record = predictor.save(found, folder / "warm")
    predict("m", folder / "one", to=folder / "out")
    assert (folder / "warm" / f"{names[0]}.nii.gz").read_bytes() == (
        folder / "out" / f"{names[0]}.nii.gz"
    ).read_bytes()
    assert results.load(record)[1]["asked"] == predictor.asked
    with pytest.raises(results.BadData, match="holds 2 cases, not one"):
        predictor(folder / "scans")


def test_a_cluster_without_ray_is_one_sentence_with_the_pip_line(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'oncoseg\[cluster\]'"):
        again(world[1], cluster="auto")


def work(folder, queue):
    """In a daemon, which may have no child processes."""
    started = []
    sys.addaudithook(
        lambda event, _: (
            started.append(event)
            if event in {"os.fork", "os.posix_spawn", "subprocess.Popen", "os.system"}
            else None
        )
    )
    outcome = again(folder)
    queue.put((multiprocessing.current_process().daemon, len(outcome.done), started))


@pytest.mark.skipif(sys.platform != "linux", reason="a forked process keeps the stand-in model")
def test_it_works_inside_a_daemon_and_starts_no_process(world):
    names, folder, _, _ = world
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=work, args=(folder, queue), daemon=True)
    worker.start()
    assert queue.get(timeout=60) == (True, len(names), [])
    worker.join()
