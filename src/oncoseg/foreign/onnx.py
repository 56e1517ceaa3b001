"""The graph of a model as a bare ONNX file, for runtimes that know nothing of ours."""

from __future__ import annotations

from pathlib import Path

from oncoseg import files
from oncoseg.errors import BadRun
from oncoseg.model import open_model


def export(name: str | Path, to: Path) -> Path:
    """Write the graph that a model file holds, or one of its network where it holds none.

    Inputs `image` and `present` (1, M, *patch) float32, output `logits` (1, outputs + maps,
    *patch). Raises `BadRun` if the network cannot be exported.
    """
    model = open_model(name)
    if model.exported:
        return files.write_bytes(to, model.graph)
    network = model.network()
    if network.alone:
        raise BadRun(f"{model.path} cannot be exported: {network.alone}")
    from oncoseg.export import to_onnx

    graph, _ = to_onnx(network, model.task)
    return files.write_bytes(to, graph)
