"""Export: graphs are held against the network, and what float16 would spoil stays whole."""

from dataclasses import replace

import onnx
import pytest
import torch
from torch import nn

from oncoseg import Predictor, export, phantom, registry
from oncoseg.blocks.queries import Attention as Reading
from oncoseg.blocks.vit import Attention
from oncoseg.blocks.windows import WindowAttention
from oncoseg.cli.learn import bare
from oncoseg.export import TOLERANCE, _run, to_onnx
from oncoseg.model import open_model, save_model
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.trainable import Network
from worlds import classes_task


class Heads(Network):
    """As many heads as it has places to attend to, in windows or over all of them."""

    widths = (16,)

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.embed, self.head = nn.Linear(1, 16), nn.Linear(16, 2)

    def encode(self, batch):
        tokens = (batch.image * batch.present).flatten(2).transpose(1, 2)  # (B, 4, 1)
        return [self.attention(self.embed(tokens))]

    def decode(self, pyramid, batch):
        return [self.head(pyramid[0]).transpose(1, 2).reshape(-1, 2, *batch.image.shape[2:])]


class Itself(Reading):
    """Places read themselves, through queries, keys and values of their own."""

    def forward(self, tokens):
        return super().forward(tokens, tokens, tokens)


@pytest.mark.parametrize(
    "attention",
    [WindowAttention(16, (2, 2), 4), Attention(16, 4), Itself(16, 4)],
    ids=["windows", "all", "queries"],
)
def test_as_many_heads_as_places_are_no_trap(attention):
    _, worst = to_onnx(Heads(attention).eval(), classes_task(2, 2, classes=1))
    assert worst <= TOLERANCE


class Magnifier(Network):
    """Tells apart two numbers that float16 holds to be one, or two of its own."""

    widths = (1,)

    def __init__(self, near: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((2, 16, 16), 1 + near))
        self.head = nn.Conv2d(1, 2, 1)

    def encode(self, batch):
        return [batch.image * batch.present]

    def decode(self, pyramid, batch):
        found = self.head(pyramid[0])
        return [(found * self.scale - found) * 1e4]


def test_weights_stay_whole_where_float16_would_be_off():
    task = classes_task(2, 16, classes=1)
    kinds = []
    for near in (2.0**-8, 2.0**-13):
        torch.manual_seed(0)
        graph, worst = to_onnx(Magnifier(near).eval(), task)
        assert worst <= TOLERANCE
        stored = onnx.load_from_string(graph).graph.initializer
        kinds.append({tensor.data_type for tensor in stored})
    assert onnx.TensorProto.FLOAT16 in kinds[0]
    assert onnx.TensorProto.FLOAT16 not in kinds[1]


def erring(graph, image, present):
    raise RuntimeError("Check 'shapes' failed\n  at node 3")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda *given: 1 + _run(*given), "its graph differs from it by "),
        (erring, "it cannot be made a graph (Check 'shapes' failed at node 3)"),
    ],
    ids=["wrong", "failing"],
)
def test_what_was_trained_is_written_though_its_graph_is_no_good(
    run, reason, monkeypatch, tmp_path
):
    monkeypatch.setattr(export, "_run", run)
    task, (case,) = phantom.world(2, 1, dims=2, size=24)
    task = replace(task, patch=(16, 16), strides=((2, 2),))
    plan = Plan(task, {name: Normalisation() for name in task.modalities})
    network = registry.build("networks", "unet:width=4,blocks=1", task)
    path = save_model(tmp_path / "m.onco", network, "unet:width=4,blocks=1", plan, {}, "none")
    model = open_model(path)
    assert not model.exported
    assert model.card["torch_alone"].startswith(reason)
    assert "graph_differs" not in model.card
    assert bare(path) == model.card["torch_alone"]
    assert Predictor(path)(case).label.shape == case.grid.shape
