"""TransDAE: both attentions are their formulas and cost what tokens cost; the published encoder."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from oncoseg import registry
from oncoseg.blocks.large_kernel import LargeKernelAttention
from oncoseg.blocks.linear_attention import DualBlock, EfficientAttention, TransposeAttention
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

PUBLISHED_BLOCKS, PUBLISHED_ENCODER = [412_552, 2_505_928, 6_368_776], 20_441_328


def test_attention_over_places_is_its_formula():
    torch.manual_seed(0)
    attention = EfficientAttention(6).double()
    tokens = torch.randn(2, 5, 6, dtype=torch.float64)
    query, key, value = attention.qkv(tokens).chunk(3, dim=-1)
    weights = query.softmax(2) @ key.softmax(1).transpose(1, 2)  # (B, N, N), never made
    torch.testing.assert_close(attention(tokens), attention.project(weights @ value))


def test_attention_over_channels_is_its_formula():
    torch.manual_seed(0)
    attention = TransposeAttention(6, 2).double()
    attention.temperature.data = torch.tensor([[[2.0]], [[0.5]]], dtype=torch.float64)
    tokens = torch.randn(1, 5, 6, dtype=torch.float64)
    query, key, value = attention.qkv(tokens)[0].T.reshape(3, 2, 3, 5)
    mixed = []
    for head, heat in enumerate((2.0, 0.5)):
        lengths = query[head].norm(dim=1)[:, None] * key[head].norm(dim=1)[None]
        mixed.append(((query[head] @ key[head].T) / lengths * heat).softmax(1) @ value[head])
    torch.testing.assert_close(attention(tokens)[0], attention.project(torch.cat(mixed).T))


@pytest.mark.parametrize("kind", [EfficientAttention, TransposeAttention])
def test_cost_grows_with_the_number_of_tokens(kind):
    attention, counts = kind(16), []
    for length in (64, 256):
        with FlopCounterMode(display=False) as counter:
            attention(torch.randn(1, length, 16))
        counts.append(counter.get_total_flops())
    assert counts[1] == 4 * counts[0]


def test_a_large_kernel_sees_23_voxels_a_side():
    torch.manual_seed(0)
    module = LargeKernelAttention(2, 2).double()
    image = torch.randn(1, 2, 33, 33, dtype=torch.float64, requires_grad=True)
    module.kernel(image)[0, 0, 16, 16].backward()
    heard = image.grad[0].abs().sum(0).nonzero()
    assert heard.amin(0).tolist() == [5, 5]
    assert heard.amax(0).tolist() == [27, 27]
    torch.testing.assert_close(module(image), image * module.kernel(image))


def parameters(module):
    return sum(value.numel() for value in module.parameters())


def test_the_encoder_has_the_published_parameters():
    """But norms that the public code of DAE-Former has in each mixing layer and never uses."""
    labels = {f"organ_{value}": value for value in range(1, 9)}
    regions = {name: (name,) for name in labels}
    names, widths = ("r", "g", "b"), (128, 320, 512)
    task = Task("t", names, labels, regions, (1.0,) * 2, (224,) * 2, ((2, 2),) * 4)
    with torch.device("meta"):
        network = registry.build("networks", "transdae:widths=128x320x512", task)
        blocks = [parameters(DualBlock(2, width)) for width in widths]
    unused = [2 * 2 * 2 * 4 * width for width in widths]
    assert [sum(each) for each in zip(blocks, unused)] == PUBLISHED_BLOCKS
    parts = network.embed, network.embed_norm, network.encoder, network.norm
    assert sum(map(parameters, parts)) + 2 * sum(unused) == PUBLISHED_ENCODER


def test_skip_and_decoder_are_heard_by_each_other():
    torch.manual_seed(0)
    task = classes_task(2, 32)
    network = registry.build("networks", "transdae:widths=8x8x16,heads=2,depth=1", task).eval()
    batch = make_batch(task)
    pyramid = network.encode(batch)
    before = network.decode(pyramid, batch)[0]
    for level in range(3):
        changed = [each + 1.0 * (place == level) for place, each in enumerate(pyramid)]
        assert not torch.allclose(before, network.decode(changed, batch)[0])


def test_any_size_comes_back_whole_and_bad_options_are_refused():
    task = classes_task(2, 37)
    network = registry.build("networks", "transdae:widths=8x8x16", task)
    assert network(make_batch(task))[0].shape[2:] == (37, 37)
    with pytest.raises(BadOption, match="heads do not divide a width of 12"):
        registry.build("networks", "transdae:widths=8x8x12", task)
