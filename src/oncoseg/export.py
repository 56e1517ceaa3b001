"""Export: a network as an ONNX graph, held against torch before it is kept."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from oncoseg.case import Task
from oncoseg.errors import BadRun
from oncoseg.extras import require
from oncoseg.predict.engines import bare_batch
from oncoseg.trainable import Network

TOLERANCE = 1e-2
SAID = 200  # letters of what another program says of its failure
LARGEST = 2 << 30  # bytes of a message


class _Patch(nn.Module):
    """A network as a function of two tensors."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, present: Tensor) -> Tensor:
        return self.network.answer(bare_batch(image, present > 0.5))


def to_onnx(network: Network, task: Task, *, whole: bool = False) -> tuple[bytes, float]:
    """image, present (1, M, *patch) float32 -> (1, outputs + maps, *patch), and how far it is off.

    That is the largest difference from torch on random input, in deviations of the answer; above
    `TOLERANCE`, if it is too large for the format, or if the exporter or OpenVINO fails, `BadRun`
    is raised. Weights become float16 unless they are to stay `whole`, or the graph would be off.
    """
    require("onnx", "train")
    require("onnxscript", "train")
    shape = (1, task.inputs, *task.patch)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=generator)
    present = torch.ones(shape)
    wrapped = _Patch(network).eval()
    with torch.no_grad():
        expected = wrapped(image, present).numpy()
    try:
        with torch.no_grad():  # else attention is another kernel, whose layout decomposes wrongly
            program = _exported(wrapped, image, present)
        graph, worst = _best(program, expected, image.numpy(), present.numpy(), whole=whole)
    except RuntimeError as error:  # of the exporter, or of OpenVINO
        cause = " ".join(str(error).split()) or type(error).__name__
        raise BadRun(f"it cannot be made a graph ({cause[:SAID]})") from error
    if not worst <= TOLERANCE:
        raise BadRun(f"its graph differs from it by {worst:.3g} deviations")
    return graph, float(f"{worst:.3g}")


def _best(
    program: Any, expected: np.ndarray, image: np.ndarray, present: np.ndarray, *, whole: bool
) -> tuple[bytes, float]:
    """The graph with float16 weights if it is near enough, else with whole ones; and how near."""
    # What the exporter folded together was no float16. Where its rounding shows, as where features
    # are multiplied with one another, all stays whole.
    protos = [] if whole else [_halved(program.model_proto)]
    graph, worst = b"", math.inf
    for proto in [*protos, program.model_proto]:
        if not worst <= TOLERANCE:
            graph = _written(proto)
            found = _run(graph, image, present)
            worst = float(np.abs(found - expected).max() / max(expected.std(), 1e-6))
    return graph, worst


def _written(proto: Any) -> bytes:
    """The bytes of a graph, if the format holds so many."""
    if proto.ByteSize() >= LARGEST:
        raise BadRun("the network is too large for one graph (2 GB); export fewer members of it")
    written: bytes = proto.SerializeToString()
    return written


def effort(network: Network, task: Task) -> dict[str, int]:
    """Parameters, and floating-point operations of a whole patch: a multiply-add counts as two.

    As torch counts them: convolutions, products of matrices and attention, and nothing else. A
    network that does nothing unless it is asked has no `flops`.
    """
    patch = torch.zeros((1, task.inputs, *task.patch))
    # The counter follows gradients, and stumbles where a parameter is an input.
    frozen = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    with FlopCounterMode(display=False) as counter:
        frozen.answer(bare_batch(patch, torch.ones_like(patch)))
    parameters = sum(value.numel() for value in network.parameters())
    known = {"parameters": parameters, "flops": counter.get_total_flops()}
    return {name: value for name, value in known.items() if value}


def _exported(wrapped: nn.Module, image: Tensor, present: Tensor) -> Any:
    """The exporter's program; what it says of packages that no network here uses is kept silent."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                wrapped,
                (image, present),
                input_names=["image", "present"],
                output_names=["logits"],
                dynamo=True,
                verbose=False,
                external_data=False,
            )
    finally:
        logger.setLevel(level)


def _halved(proto: Any) -> Any:
    """Store large float32 weights as float16 with a cast behind each.

    Runtimes fold the cast away.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = proto.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > 64:
            name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return proto


def _run(graph: bytes, image: np.ndarray, present: np.ndarray) -> np.ndarray:
    import openvino

    core = openvino.Core()
    network = core.compile_model(core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(network({"image": image, "present": present})[0])
