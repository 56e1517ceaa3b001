"""Multimodal UNETR and its blocks: tokens of any subset of modalities, in any order."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.resize import padded
from oncoseg.blocks.vit import Attention, Vit, patchify, sincos_positions, unpatchify
from oncoseg.errors import BadOption
from oncoseg.export import to_onnx
from worlds import lent, make_batch, ordered, regions_task, with_only

SMALL = "multimodal_unetr:patch=4,width=24,depth=4,heads=2,features=4"
PAPER = "multimodal_unetr:width=768,depth=12,heads=12"
TASK = regions_task(2, 16)


def built(task=TASK, seed=0, spelled=SMALL):
    torch.manual_seed(seed)
    return registry.build("networks", spelled, task).eval()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6, 2)])
def test_patches_hold_their_voxels_and_go_back(shape):
    image = torch.randn(2, 3, *shape)
    patches = patchify(image, 2)
    grid = [size // 2 for size in shape]
    assert patches.shape == (2, 3, image[0, 0].numel() // 2 ** len(shape), 2 ** len(shape))
    second = (slice(None), slice(None), *[slice(0, 2)] * (len(shape) - 1), slice(2, 4))
    if grid[-1] > 1:
        assert torch.equal(patches[:, :, 1], image[second].flatten(2))
    assert torch.equal(unpatchify(patches, grid, 2), image)


def test_padding_goes_behind_and_only_where_it_must():
    image = torch.ones(1, 1, 5, 8)
    assert padded(image, 4).shape == (1, 1, 8, 8)
    assert padded(image, 4)[..., :5, :].all()
    assert not padded(image, 4)[..., 5:, :].any()
    assert padded(image, 1) is image


def test_positions_are_sines_and_cosines_of_each_axis():
    codes = sincos_positions([2, 3], 10)
    assert codes.shape == (6, 10)
    place = torch.tensor([1.0, 0.01])  # frequencies 10000^(-k / 2)
    expected = [*place.sin(), *place.cos(), *(2 * place).sin(), *(2 * place).cos(), 0, 0]
    assert torch.allclose(codes[5], torch.tensor([float(each) for each in expected]))
    assert len(codes.unique(dim=0)) == 6
    assert len(sincos_positions([3, 2, 2], 18).unique(dim=0)) == 12


def test_attention_is_softmax_of_scaled_products_over_tokens_that_are_there():
    torch.manual_seed(0)
    attention, tokens = Attention(8, 2), torch.randn(2, 5, 8)
    there = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]]).bool()
    query, key, value = attention.qkv(tokens).chunk(3, dim=-1)
    heads = []
    for half in (slice(0, 4), slice(4, 8)):
        scores = query[..., half] @ key[..., half].mT / 2
        scores = scores.masked_fill(~there[:, None], -torch.inf)
        heads.append(scores.softmax(-1) @ value[..., half])
    expected = attention.project(torch.cat(heads, dim=-1))
    assert torch.allclose(attention(tokens, there), expected, atol=1e-6)


def test_a_token_that_is_not_there_is_as_if_left_out():
    torch.manual_seed(0)
    vit, tokens = Vit(8, 3, 2), torch.randn(1, 6, 8)
    there = torch.tensor([[1, 0, 1, 1, 0, 1]]).bool()
    fewer = vit(tokens[:, there[0]])[-1]
    kept = torch.cat([torch.ones(1, 1).bool(), there], dim=1)[0]
    assert torch.allclose(vit(tokens, there)[-1][:, kept], fewer, atol=1e-5)
    assert torch.isfinite(vit(tokens, torch.zeros(1, 6).bool())[-1]).all()


def test_the_papers_transformer_has_its_size():
    task = regions_task(3, 128)
    with torch.device("meta"):
        tokens = registry.build("networks", PAPER, task).tokens
    linear = 4 * 768 * 768 + 4 * 768 + 2 * 768 * 1536 + 1536 + 768
    blocks = 12 * (linear + 2 * 2 * 768)
    embeddings = 4 * (16**3 * 768 + 768)
    expected = blocks + embeddings + 768 + 2 * 768  # class token, last norm
    assert sum(value.numel() for value in tokens.parameters()) == expected
    assert registry.build("networks", PAPER.replace("768", "12"), task).taken == [2, 5, 8, 11]


@pytest.mark.parametrize("names", [("t1ce",), ("flair", "t1"), ("t1", "t1ce", "t2")])
def test_a_modality_that_is_absent_is_as_if_the_network_had_never_known_it(names):
    whole, batch = built(), make_batch(TASK)
    fewer = lent(built(replace(TASK, modalities=names), seed=1), whole)
    places = [TASK.modalities.index(name) for name in names]
    expected = fewer(ordered(batch, places))[0]
    assert torch.allclose(whole(with_only(batch, names, TASK))[0], expected, atol=1e-4)


def test_the_order_of_modalities_changes_nothing():
    places = [2, 0, 3, 1]
    task = replace(TASK, modalities=tuple(TASK.modalities[place] for place in places))
    network, batch = built(), make_batch(TASK)
    again = lent(built(task, seed=1), network)(ordered(batch, places))[0]
    assert torch.allclose(again, network(batch)[0], atol=1e-4)


def test_items_of_a_batch_may_have_different_modalities_and_voxels():
    network, batch = built(), make_batch(TASK, size=3)
    present = batch.present.clone()
    present[0, 1:] = False
    present[1, 0, :7] = False
    present[2] = False
    mixed = batch.but(present=present)
    together = network(mixed)[0]
    assert torch.isfinite(together).all()
    for item in range(3):
        assert torch.allclose(together[[item]], network(mixed[[item]])[0], atol=1e-4)


def test_a_token_is_there_where_any_voxel_of_it_is():
    network, batch = built(), make_batch(TASK)
    present = torch.zeros_like(batch.present)
    present[0, 2, 5, 9] = True
    _, there = network.tokens.embed(batch.image, present.float())
    assert there.nonzero().tolist() == [[0, 2, 4 + 2]]


def test_any_size_comes_back_whole_and_is_exported():
    task = replace(regions_task(3, 9), patch=(5, 9, 11))
    network = built(task).half().float()
    assert network(make_batch(task))[0].shape[2:] == (5, 9, 11)
    assert to_onnx(network, task)


@pytest.mark.parametrize("option", ["patch=6", "patch=16,depth=3", "heads=5"])
def test_options_that_do_not_fit_are_refused(option):
    with pytest.raises(BadOption, match=r"MultimodalUnetr|heads"):
        registry.build("networks", f"multimodal_unetr:{option}", TASK)
