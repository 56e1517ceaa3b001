"""What runs a network on a patch.

An exported graph on OpenVINO (default, no torch), or torch itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from oncoseg.case import Array, Batch, Prompts
from oncoseg.errors import BadFile, BadRun
from oncoseg.extras import require
from oncoseg.model import REMEDY, Model
from oncoseg.predict.window import Infer

if TYPE_CHECKING:
    from oncoseg.trainable import Network

DISAGREE = (
    0.002  # largest share of voxels whose sign may differ between a reduced precision and float32
)


def engine(model: Model, name: str, device: str = "") -> Infer:
    """The engine of that name for a model; raises `BadRun` for an unknown one.

    A model without an exported graph runs in torch.
    """
    known: dict[str, Callable[[Model, str], Infer]] = {
        "openvino": openvino_engine,
        "torch": torch_engine,
    }
    if name not in known:
        raise BadRun(f"no engine '{name}'; there are {', '.join(known)}")
    return known[name if model.exported else "torch"](model, device)


def openvino_engine(model: Model, device: str = "") -> Infer:
    """The exported graph on the CPU.

    It runs in the fastest precision that the processor has and that agrees with float32.

    On the first patch that holds a scan, the reduced precision is compared with float32; if more
    than `DISAGREE` of the outputs change sign, float32 is used from then on.
    """
    import openvino

    core = openvino.Core()
    graph = _graph(core, model, device)
    kinds = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    reduced = next((kind for kind in ("FP16", "BF16") if kind in kinds), "")

    def compiled(precision: str) -> Any:
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        with _refusing(model, "its graph cannot be compiled"):
            return core.compile_model(graph, device.upper() or "CPU", hints)

    chosen: list[Any] = []

    def infer(image: Array, present: Array) -> Array:
        if chosen:
            return _run(model, chosen[0], image, present)
        exact = compiled("f32")
        if not reduced:
            chosen.append(exact)
            return _run(model, exact, image, present)
        fast = compiled({"FP16": "f16", "BF16": "bf16"}[reduced])
        slow, quick = _run(model, exact, image, present), _run(model, fast, image, present)
        if not image.any():
            return slow
        agree = np.isfinite(quick).all() and ((slow > 0) != (quick > 0)).mean() <= DISAGREE
        chosen.append(fast if agree else exact)
        return slow

    return infer


@contextmanager
def _refusing(model: Model, cause: str) -> Iterator[None]:
    """Turn what OpenVINO raises on a graph that does not fit into a sentence on the model."""
    try:
        yield
    except (KeyError, RuntimeError) as error:
        raise BadFile(model.path, cause, REMEDY) from error


def _run(model: Model, network: Any, image: Array, present: Array) -> Array:
    """Logits and maps of a patch, if the graph gives as many as the model says."""
    inputs = {"image": image.astype(np.float32), "present": present.astype(np.float32)}
    with _refusing(model, "its graph does not take the patches that its plan states"):
        found = np.asarray(network(inputs)[0])
    if found.shape != (1, model.task.outputs + len(model.maps), *image.shape[2:]):
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


def torch_engine(model: Model, device: str = "") -> Infer:
    """The network itself, on CUDA where there is one."""
    return network_engine(model.network(), device)


def network_engine(network: Network, device: str = "") -> Infer:
    """Any network in memory as an engine; used for validation while training."""
    torch = require("torch", "train")
    place = torch_device(device)
    network = network.to(place).eval()

    def infer(image: Array, present: Array) -> Array:
        with (
            torch.inference_mode(),
            torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda"),
        ):
            batch = bare_batch(
                torch.from_numpy(image).to(place), torch.from_numpy(present).to(place)
            )
            return np.asarray(network.answer(batch).float().cpu())

    return infer


def torch_device(name: str = "") -> Any:
    """A device of torch by name, the best there is if empty; raises `BadRun` if it is absent."""
    torch = require("torch", "train")
    cuda = torch.cuda.is_available()
    try:
        place = torch.device(name or ("cuda" if cuda else "cpu"))
    except RuntimeError as error:
        raise BadRun(f"no device '{name}'; use cpu or cuda") from error
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
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
