"""MPU-Net: the published size, attention that starts as nothing, the mean of all scales."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.attention import PositionAttention
from oncoseg.blocks.supervision import mean_logits
from oncoseg.export import TOLERANCE, to_onnx
from worlds import classes_task, make_batch, regions_task

UNUSED = 1_049_754  # of the public code: an up-convolution, a decoder and a map that it never runs


def built(task, options="width=2"):
    torch.manual_seed(0)
    return registry.build("networks", f"mpunet:{options}", task)


def test_parameters_are_the_published_ones():
    with torch.device("meta"):
        network = built(classes_task(3, 64, classes=1), "width=16")
    assert sum(value.numel() for value in network.parameters()) + UNUSED == 22_557_009
    assert list(network.widths) == [16, 32, 64, 128, 256]


@pytest.mark.parametrize("dims", [2, 3])
def test_attention_starts_as_nothing_and_then_mixes_all_places(dims):
    torch.manual_seed(0)
    attention, features = PositionAttention(dims, 16), torch.randn(2, 16, *(4,) * dims)
    assert torch.equal(attention(features), features)
    attention.gamma.data.fill_(1.0)
    turned = features.flip(2)  # no place is special
    torch.testing.assert_close(attention(turned), attention(features).flip(2))


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_answer_is_the_mean_probability_of_four_maps(exclusive):
    torch.manual_seed(0)
    maps = [torch.randn(2, 3, 5, 5) for _ in range(4)]

    def chance(logits):
        return logits.softmax(1) if exclusive else logits.sigmoid()

    expected = torch.stack([chance(level) for level in maps]).mean(0)
    torch.testing.assert_close(chance(mean_logits(maps, exclusive)), expected.float())


def test_every_scale_gives_a_map_of_full_size():
    task = classes_task(2, 40)
    network, batch = built(task).train(), make_batch(task)
    maps = network(batch)
    assert [tuple(level.shape[2:]) for level in maps] == [(40, 40)] * 4  # the mean and three more
    sees = []
    network.heads[0].register_forward_hook(lambda module, given, found: sees.append(found))
    network(batch)
    assert sees  # the finest is heard in the mean alone


def test_positions_tell_places_apart():
    task = classes_task(2, 32)
    batch = make_batch(task)
    flat = batch.but(image=torch.zeros_like(batch.image))
    plain, placed = built(task).eval(), built(task, "width=2,positions=true").eval()
    assert not torch.allclose(plain(flat)[0], placed(flat)[0])
    placed.load_state_dict(plain.state_dict())  # nothing of it is learned


def test_a_graph_has_numbers_where_all_maps_are_certain():
    task = regions_task(2, 40)
    network = built(task).eval()
    with torch.no_grad():
        for head in network.heads:
            head.bias.fill_(-200)
    _, worst = to_onnx(network, task)
    assert worst <= TOLERANCE
