"""What runs a network on patches: one seam, several engines.

An `Infer` takes images and presence (B, M, *patch) and gives logits and maps (B, outputs + maps,
*patch) float32. An exported graph runs on OpenVINO (default) or ONNX Runtime, without torch; torch
runs the network itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from oncoseg.case import Array, Batch, Prompts
from oncoseg.errors import BadFile, BadRun
from oncoseg.extras import require
from oncoseg.model import REMEDY, Model
from oncoseg.predict.window import Infer

if TYPE_CHECKING:
    from oncoseg.trainable import Network

DISAGREE = 0.002  # share of voxels whose label a reduced precision may change
NATIVE = {"FP16": "f16", "BF16": "bf16"}  # what processors say that they can, the better one first


def engine(model: Model, name: str, device: str = "", threads: int = 0) -> Infer:
    """The engine of that name for a model; raises `BadRun` for an unknown one.

    A model without an exported graph runs in torch. It works in so many `threads` of the CPU, or as
    many as it likes (0).
    """
    known: dict[str, Callable[[Model, str, int], Infer]] = {
        "openvino": OpenVino,
        "onnxruntime": onnxruntime_engine,
        "torch": torch_engine,
    }
    if name not in known:
        raise BadRun(f"no engine '{name}'; there are {', '.join(known)}")
    return known[name if model.exported else "torch"](model, device, threads)


class OpenVino:
    """The exported graph in the fastest precision that the processor has and that is good enough.

    Before the first patch that holds a scan, the part of it that holds most is inferred in float32
    too. If the reduced precision gives more than `DISAGREE` of its voxels another label, or no
    numbers there or anywhere later, float32 is used from then on, until the next scan is `begun`:
    what a scan is segmented as depends on no other.
    """

    def __init__(self, model: Model, device: str = "", threads: int = 0) -> None:
        import openvino

        self.model, self.core, self.device = model, openvino.Core(), device.upper() or "CPU"
        self.graph = _graph(self.core, model, device)
        kinds = self.core.get_property(self.device, "OPTIMIZATION_CAPABILITIES")
        self.reduced = next((NATIVE[kind] for kind in NATIVE if kind in kinds), "")
        self.hints = {"PERFORMANCE_HINT": "LATENCY"}
        if self.device == "CPU":
            self.hints["INFERENCE_NUM_THREADS"] = str(threads)
        self.network: Any = None
        self.held = ""  # the precision of the network
        self.begun()

    def begun(self) -> None:
        """Decide the precision on the next patch, that of another scan."""
        self.precision = "" if self.reduced else "f32"
        if self.network:
            self.network.release_memory()  # of the scan before

    def __call__(self, image: Array, present: Array) -> Array:
        """Patches one after another: a graph takes one, and its cores are busy with it."""
        pairs = zip(image.astype(np.float32, copy=False), present.astype(np.float32))
        return np.concatenate([self._one(a[None], b[None]) for a, b in pairs])

    def _one(self, image: Array, present: Array) -> Array:
        if not self.precision and not image.any():
            return self._once("f32", image, present)
        self.precision = self.precision or self._chosen(image, present)
        if self.held != self.precision:
            self.network = None  # let go before there is another
            self.network, self.held = self._compiled(self.precision), self.precision
        found = self._run(self.network, image, present)
        if self.precision == "f32" or np.isfinite(found).all():
            return found
        self.precision = "f32"
        return self._one(image, present)

    def _chosen(self, image: Array, present: Array) -> str:
        box = fullest(image[0], np.prod(self.model.task.strides, axis=0, dtype=int))
        inside = (slice(None), slice(None), *box)
        part, there = image[inside], present[inside]
        try:
            exact, quick = (self._once(kind, part, there) for kind in ("f32", self.reduced))
        except BadFile:  # a graph that takes patches of one size alone
            exact, quick = (self._once(kind, image, present) for kind in ("f32", self.reduced))
        label = [
            self.model.task.decode(each[0, : self.model.task.outputs]) for each in (exact, quick)
        ]
        same = np.isfinite(quick).all() and (label[0] != label[1]).mean() <= DISAGREE
        return self.reduced if same else "f32"

    def _once(self, precision: str, image: Array, present: Array) -> Array:
        """The answer in that precision, of a network that is let go: no two are held at once."""
        return self._run(self._compiled(precision, image.shape), image, present)

    def _compiled(self, precision: str, shape: Sequence[int] = ()) -> Any:
        hints = {**self.hints, "INFERENCE_PRECISION_HINT": precision}
        with _refusing(self.model, "its graph cannot be compiled"):
            graph = self.graph
            if tuple(shape[2:]) not in {(), self.model.task.patch}:
                graph = graph.clone()
                graph.reshape({name: list(shape) for name in ("image", "present")})
            return self.core.compile_model(graph, self.device, hints)

    def _run(self, network: Any, image: Array, present: Array) -> Array:
        with _refusing(self.model, "its graph does not take the patches that its plan states"):
            found = np.asarray(network({"image": image, "present": present})[0])
        return _fitting(self.model, found, image)


def fullest(image: Array, multiple: Array) -> tuple[slice, ...]:
    """The half an axis of an image (M, *S) that holds most which is not 0; whole `multiple`s."""
    sizes = [
        size // 2 // step * step or size for size, step in zip(image.shape[1:], multiple.tolist())
    ]
    corners = product(
        *({0, whole - size} for whole, size in zip(image.shape[1:], sizes))  # first or last half
    )
    boxes = [tuple(slice(at, at + size) for at, size in zip(each, sizes)) for each in corners]
    return max(boxes, key=lambda box: np.count_nonzero(image[0][box]))


def onnxruntime_engine(model: Model, device: str = "", threads: int = 0) -> Infer:
    """The exported graph on ONNX Runtime, in float32, on the CPU or on CUDA."""
    runtime = require("onnxruntime", "onnx")
    place = device.upper() or "CPU"
    provider = f"{place}ExecutionProvider"
    if provider not in runtime.get_available_providers():
        raise BadRun(f"ONNX Runtime has no device '{device}' here; leave it out, or use cpu")
    state = runtime.capi.onnxruntime_pybind11_state
    kinds = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented")
    raised = tuple(getattr(state, name) for name in (*kinds, "RuntimeException"))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    with _refusing(model, "its graph cannot be read by ONNX Runtime", raised):
        session = runtime.InferenceSession(model.graph, options, providers=[provider])

    def one(image: Array, present: Array) -> Array:
        inputs = {"image": image.astype(np.float32), "present": present.astype(np.float32)}
        with _refusing(model, "its graph does not take the patches that its plan states", raised):
            return _fitting(model, session.run(None, inputs)[0], image)

    return lambda image, present: np.concatenate(
        [one(a[None], b[None]) for a, b in zip(image, present)]
    )


@contextmanager
def _refusing(model: Model, cause: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn what an engine raises on a graph that does not fit into a sentence on the model."""
    expected: tuple[type[Exception], ...] = (KeyError, MemoryError, RuntimeError, *also)
    try:
        yield
    except expected as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadFile(model.path, f"{cause} ({why})", REMEDY) from error


def _fitting(model: Model, found: Array, image: Array) -> Array:
    """The answer, if there is as much of it as the model says."""
    if found.shape != (len(image), model.task.outputs + len(model.maps), *image.shape[2:]):
        cause = f"its graph gives {found.shape} for patches of {image.shape}"
        raise BadFile(model.path, cause, REMEDY)
    return found


def _graph(core: Any, model: Model, device: str) -> Any:
    """The model's graph as OpenVINO reads it, if it has the device."""
    there = sorted({name.partition(".")[0] for name in core.available_devices})
    if device and device.partition(".")[0].upper() not in there:
        raise BadRun(
            f"OpenVINO has no device '{device}'; there are {', '.join(there)}, "
            "and the engine torch can use CUDA"
        )
    with _refusing(model, "its graph cannot be read by OpenVINO"):
        return core.read_model(model.graph)


def torch_engine(model: Model, device: str = "", threads: int = 0) -> Infer:
    """The network itself, on a GPU where there is one."""
    if threads:
        require("torch", "train").set_num_threads(threads)
    run = network_engine(model.network(), device)

    def infer(image: Array, present: Array) -> Array:
        with _refusing(model, "its network does not take the patches that its plan states"):
            return _fitting(model, run(image, present), image)

    return infer


def network_engine(network: Network, device: str = "", *, half: bool = False) -> Infer:
    """Any network in memory as an engine, in bfloat16 if `half` or on CUDA.

    A network that was trained in bfloat16 is validated in it: on a CPU, torch's convolutions of one
    small patch in float32 take six times as long.
    """
    torch = require("torch", "train")
    place = torch_device(device)
    network = network.to(place).eval()

    def infer(image: Array, present: Array) -> Array:
        with (
            torch.inference_mode(),
            torch.autocast(place.type, torch.bfloat16, enabled=half or place.type == "cuda"),
        ):
            batch = bare_batch(
                torch.from_numpy(image).to(place), torch.from_numpy(present).to(place)
            )
            return np.asarray(network.answer(batch).float().cpu())

    return infer


def torch_device(name: str = "") -> Any:
    """A device of torch by name, the best there is if empty; raises `BadRun` if it is absent."""
    torch = require("torch", "train")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    try:
        place = torch.device(name or ("cuda" if there["cuda"] else "cpu"))
    except RuntimeError as error:
        raise BadRun(f"no device '{name}'; use cpu, cuda or mps") from error
    gone = place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count()
    if gone or not there.get(place.type, True):
        raise BadRun(f"no device '{name}' on this machine; use cpu, or leave it out")
    return place


def bare_batch(image: Any, present: Any) -> Batch:
    """A batch for inference: images and presence, nothing known of labels."""
    torch = require("torch", "train")
    size = image.shape[0]
    unknown = torch.zeros(size, dtype=torch.bool)
    return Batch(
        image=image,
        present=present.bool(),
        label=image.new_zeros(size, 0),
        weight=image.new_zeros(size, 0),
        labeled=unknown,
        annotated=unknown[:, None],
        domain=torch.zeros(size, dtype=torch.long),
        prompts=Prompts.none(image),
    )
