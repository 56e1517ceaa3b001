"""Export: graphs are held against the network, and what float16 would spoil stays whole."""

import onnx
import torch
from torch import nn

from oncoseg.export import TOLERANCE, to_onnx
from oncoseg.trainable import Network
from worlds import classes_task


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
