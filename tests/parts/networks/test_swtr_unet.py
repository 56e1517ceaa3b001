"""SWTR-Unet: blocks that see all and near, and a residual U-Net without them."""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

SMALL = "swtr_unet:width=8,units=1x1x1,dim=12,heads=2,window=2"


def built(options, task):
    torch.manual_seed(0)
    return registry.build("networks", f"{SMALL}{options}", task)


def test_without_its_transformer_it_is_a_residual_u_net():
    task = classes_task(2, 64)
    plain, batch = built(",depth=0", task).eval(), make_batch(task)
    skips = plain.convolutions(batch.image)
    torch.testing.assert_close(plain.encode(batch)[-1], plain.embed(skips[-1]))
    assert not any("nearby" in name for name, _ in plain.named_parameters())
    assert plain(batch)[0].shape == (2, task.outputs, 64, 64)


@pytest.mark.parametrize("dims", [2, 3])
def test_of_each_pair_one_sees_all_and_one_what_is_near(dims):
    task = classes_task(dims, 32)
    network = built(",depth=2", task)
    assert [block.shifted for block in network.nearby] == [False, True]
    tokens = torch.randn(1, *(4,) * dims, 12, requires_grad=True)
    network.nearby[0](tokens)[(0, *(0,) * dims)].sum().backward()
    heard = tokens.grad[0].abs().sum(-1) > 0
    assert heard.sum() == 2**dims
    flat = torch.randn(1, 9, 12, requires_grad=True)
    network.everywhere[0](flat)[0, 0].sum().backward()
    assert (flat.grad[0].abs().sum(-1) > 0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("heads=5", "5 heads do not divide a width of 12"),
        ("heads=0", "0 heads do not divide"),
        ("width=12", "a width of 4, 8, 16 or a multiple of 32, not 12"),
        ("window=1", "windows are at least 2 wide, not 1"),
        ("units=1x1", "three units"),
    ],
)
def test_what_its_blocks_cannot_be_is_refused(options, said):
    with pytest.raises(BadOption, match=said):
        built(f",{options}", classes_task(2))
