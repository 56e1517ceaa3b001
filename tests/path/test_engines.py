"""Engines: one answer whatever computes it, reduced precision only where labels stay."""

from types import SimpleNamespace

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.case import Task
from oncoseg.errors import BadFile
from oncoseg.model import open_model, save_model
from oncoseg.predict import engines
from oncoseg.predict.engines import OpenVino, engine, fullest
from oncoseg.prepare.plan import Normalisation, Plan

torch = pytest.importorskip("torch")
THREADS = "INFERENCE_NUM_THREADS"
TASK = Task("t", ("a", "b"), {"x": 1}, {"x": ("x",)}, (1.0,) * 3, (16, 16, 16), ((2, 2, 2),) * 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    spelled = "unet:width=4,blocks=1"
    network = registry.build("networks", spelled, TASK)
    path = tmp_path_factory.mktemp("engines") / "m.onco"
    plan = Plan(TASK, {name: Normalisation() for name in "ab"})
    return open_model(save_model(path, network, spelled, plan, {"name": "tiny"}, "none"))


def patches(count):
    image = np.random.default_rng(0).normal(size=(count, 2, 16, 16, 16)).astype(np.float32)
    return image, np.ones(image.shape, dtype=bool)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_engines_agree_and_take_several_patches(model, name):
    if name == "onnxruntime":
        pytest.importorskip("onnxruntime")
    image, present = patches(3)
    infer = engine(model, name)
    if name == "openvino":
        infer.precision = "f32"
    found, expected = infer(image, present), engine(model, "torch", "cpu")(image, present)
    assert found.shape == (3, 2, 16, 16, 16)
    assert np.abs(found - expected).max() < 1e-3 * expected.std()
    assert np.array_equal(infer(image[1:2], present[1:2]), found[1:2])


def test_engines_work_in_as_many_threads_as_they_are_told(model):
    assert engine(model, "openvino", "", 1)._compiled("f32").get_property(THREADS) == 1
    before = torch.get_num_threads()
    engine(model, "torch", "cpu", before + 1)
    assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)


def test_the_card_says_how_far_the_graph_is_from_the_network(model):
    assert 0 <= model.card["graph_differs"] < 1e-2


class Fake(OpenVino):
    """Reduced precision that is off by `noise` everywhere, and gives no numbers above `most`."""

    noise, most = 0.0, np.inf

    def _compiled(self, precision, shape=()):
        return SimpleNamespace(kind=precision, release_memory=self.let_go)

    def let_go(self):
        self.released += 1

    def _run(self, network, image, present):
        network = network.kind
        self.runs.append((network, image.shape[2:]))
        logits = np.concatenate([np.zeros_like(image[:, :1]), image[:, :1]], axis=1)
        if network != "f32":
            logits[:, 1] += self.noise
            logits[:, 1][image[:, 0] > self.most] = np.nan
        return logits


def fake(noise=0.0, most=np.inf):
    made = object.__new__(Fake)
    made.model, made.reduced, made.precision = SimpleNamespace(task=TASK), "bf16", ""
    made.network, made.held, made.released = None, "", 0
    made.noise, made.most, made.runs = noise, most, []
    return made


def test_the_fast_precision_is_tried_on_an_eighth_of_the_first_patch():
    infer, (image, present) = fake(), patches(2)
    infer(image, present)
    half = (8, 8, 8)
    assert infer.runs == [("f32", half), ("bf16", half), *[("bf16", (16, 16, 16))] * 2]


def test_precision_that_changes_labels_is_not_used():
    image, present = patches(2)
    assert fake(1e-6)(image, present).shape == (2, 2, 16, 16, 16)
    infer = fake(0.1)
    infer(image, present)
    assert infer.precision == "f32"
    assert {network for network, _ in infer.runs[2:]} == {"f32"}


def test_air_decides_nothing_and_is_exact():
    infer, (image, present) = fake(), patches(2)
    infer(image[:1] * 0, present[:1])
    assert (infer.precision, infer.runs) == ("", [("f32", (16, 16, 16))])


def test_where_reduced_precision_overflows_later_float32_goes_on():
    infer, (image, present) = fake(most=10), patches(2)
    image[1, 0, 3] = 20
    found = infer(image, present)
    assert np.isfinite(found).all()
    assert infer.precision == "f32"


def test_the_precision_of_a_scan_does_not_depend_on_the_scan_before():
    infer, (image, present) = fake(most=10), patches(2)
    bright = image.copy()
    bright[1, 0, 3] = 20
    alone = infer(image, present)
    assert infer.precision == "bf16"
    infer.begun()
    assert infer.released == 1
    infer(bright, present)
    assert infer.precision == "f32"
    infer.begun()
    assert np.array_equal(infer(image, present), alone)
    assert infer.precision == infer.runs[-1][0] == "bf16"


def test_the_part_that_is_tried_holds_most_and_fits_the_strides():
    image = np.zeros((1, 24, 6, 16), np.float32)
    image[0, 20, 5, 1] = 1
    assert fullest(image, np.array([8, 4, 4])) == (slice(16, 24), slice(0, 6), slice(0, 8))
    assert fullest(image[:, :, :3], np.array([8, 4, 4]))[1] == slice(0, 3)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_an_engine_that_fails_is_one_sentence(model, name):
    if name == "onnxruntime":
        pytest.importorskip("onnxruntime")
    infer = engine(model, name, "")
    with pytest.raises(BadFile, match=r"m\.onco: .*") as caught:
        infer(np.zeros((1, 5, 16, 16, 16), np.float32), np.ones((1, 5, 16, 16, 16), bool))
    assert "\n" not in str(caught.value)


def test_a_device_that_runs_out_of_memory_is_one_sentence(model, monkeypatch):
    def full(image, present):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB")

    monkeypatch.setattr(engines, "network_engine", lambda network, device: full)
    with pytest.raises(BadFile, match=r"\(CUDA out of memory\. Tried to allocate 9 GiB\)"):
        engine(model, "torch")(*patches(1))
