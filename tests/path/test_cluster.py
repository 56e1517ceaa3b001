"""A cohort spread over Ray: the same results, whatever happens to its workers."""

import os
import random
import signal
import sys
import threading
import time
from itertools import product
from pathlib import Path

import pytest

from oncoseg import results
from oncoseg.cluster import TRIES, cores, spread
from oncoseg.errors import BadRun
from oncoseg.predict import predict
from runs import toy_data

pytest.importorskip("torch", reason="makes the model that is spread")
ray = pytest.importorskip("ray", reason="pip install 'oncoseg[cluster]'")
CASES = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model, and a cohort of which one case is cut short."""
    import torch

    from oncoseg import registry
    from oncoseg.model import save_model
    from oncoseg.prepare.plan import Normalisation, Plan

    folder = tmp_path_factory.mktemp("cohort")
    task, cases = toy_data(folder / "scans", 3, CASES, size=24)
    bad = next((folder / "scans" / cases[2].id).glob("a_image*"))
    bad.write_bytes(bad.read_bytes()[:300])
    task = phantom_task(task)
    torch.manual_seed(0)
    network = registry.build("networks", "unet:width=4,blocks=1", task)
    plan = Plan(task, {name: Normalisation() for name in task.modalities})
    model = folder / "m.onco"
    save_model(model, network, "unet:width=4,blocks=1", plan, {"name": "untrained"}, "none")
    return folder, model, predict(model, folder / "scans", to=folder / "here")


def phantom_task(task):
    from dataclasses import replace

    return replace(task, patch=(16, 16, 16), strides=((2, 2, 2),) * 2)


def labels(folder):
    return {case: results.load(path)[0].label for case, path in results.find(folder).items()}


def alike(first, second):
    """Whether two label maps are the same, but for voxels on which the network is undecided.

    With another number of cores the engine adds up in another order, here of a network that has
    learned nothing, and where half of a case rounds otherwise it may choose another precision.
    """
    return first.shape == second.shape and (first != second).mean() < 0.01


def assert_same(folder, expected):
    """The same cases with the labels of each, which no other case has."""
    found, expected = labels(folder), labels(expected)
    assert found.keys() == expected.keys()
    for case, of_other in product(found, expected):
        assert alike(found[case], expected[of_other]) == (case == of_other)


def test_a_cluster_gives_what_this_process_gives_and_goes_on_like_it(two_workers, world):
    folder, model, here = world
    there = predict(model, folder / "scans", to=folder / "there", cluster="auto")
    assert [path.name for path in there.done] == [path.name for path in here.done]
    assert there.failed == here.failed
    assert set(there.promised) == set(here.promised)
    assert_same(folder / "there", folder / "here")
    # Each goes on with what the other left.
    (folder / "there" / here.done[0].name).unlink()
    (folder / "here" / here.done[1].name).unlink()
    kept = {path.stem for path in here.done}
    again = predict(model, folder / "scans", to=folder / "there")
    assert set(again.kept) == kept - {here.done[0].stem}
    again = predict(model, folder / "scans", to=folder / "here", cluster="auto")
    assert set(again.kept) == kept - {here.done[1].stem}
    assert len(again.done) == len(here.done)


def test_tasks_share_the_cores_of_a_machine(two_workers):
    assert dict(spread(cores, {"a": ()})) == {"a": max(1, os.cpu_count() // 2)}


def test_a_worker_infers_in_its_share_of_cores(two_workers, world):
    def threads(model):
        from oncoseg.predict import warm

        network = warm(Path(model), (("engine", "openvino"),)).infer._compiled("f32")
        return network.get_property("INFERENCE_NUM_THREADS")

    assert dict(spread(threads, {"a": (str(world[1]),)})) == {"a": max(1, os.cpu_count() // 2)}


def workers():
    """Processes of this user that work on a task of ours now, by what Ray calls them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if words.startswith(b"ray::one") and below(int(entry.name)):
                found.append(int(entry.name))
    return found


def below(process):
    """Whether it was started by us, however many steps ago."""
    while process > 1:
        if process == os.getpid():
            return True
        try:
            said = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        except OSError:
            return False
        process = int(said.rpartition(")")[2].split()[1])
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_cases_of_killed_workers_are_done_elsewhere(two_workers, world):
    folder, model, here = world
    over, killed, chance = threading.Event(), [], random.Random(0)

    def kill():
        while not over.wait(chance.uniform(0.1, 0.6)) and len(killed) < TRIES - 1:
            for process in chance.sample(found := workers(), min(1, len(found))):
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        outcome = predict(model, folder / "scans", to=folder / "killed", cluster="auto")
    finally:
        over.set()
        killer.join()
    assert len(killed) == TRIES - 1
    assert outcome.failed == here.failed
    assert_same(folder / "killed", folder / "here")
    predict(model, folder / "scans", to=folder / "killed")
    assert not list((folder / "killed").glob(".*"))


def test_a_case_that_kills_its_worker_each_time_is_given_up(two_workers, tmp_path):
    def dies(folder, name):
        """Kills its worker the first `name` times that it is called."""
        path = Path(folder) / f"tries_{name}"
        with path.open("a", encoding="utf-8") as file:
            file.write("x")
        if path.stat().st_size <= int(name):
            os._exit(9)
        return name

    cases = {str(times): (str(tmp_path), str(times)) for times in (0, TRIES - 1, TRIES)}
    found = dict(spread(dies, cases))
    given_up = found.pop(str(TRIES))
    assert found == {"0": "0", str(TRIES - 1): str(TRIES - 1)}
    assert f"case {TRIES}: its worker died {TRIES} times" in given_up
    assert (tmp_path / f"tries_{TRIES}").stat().st_size == TRIES


def test_what_nobody_foresaw_is_reported_and_not_tried_again(two_workers):
    def breaks():
        raise LookupError("nobody foresaw this")

    assert dict(spread(breaks, {"a": ()})) == {"a": "case a: nobody foresaw this"}


def test_a_gpu_that_is_not_there_is_refused(two_workers):
    if not ray.cluster_resources().get("GPU"):
        with pytest.raises(BadRun, match="has no GPU"):
            list(spread(time.time, {"a": ()}, gpus=1))


def test_waiting_leaves_the_cluster_as_it_was(two_workers):
    list(spread(lambda: 0, {"a": ()}))
    assert ray.is_initialized()


def test_a_cluster_that_is_not_there_is_one_sentence_at_once(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(BadRun, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        list(spread(lambda: 0, {"a": ()}, address="127.0.0.1:1"))
