"""AGU-Net: gates between 0 and 1, and what each option leaves out."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.attention import AttentionGate
from oncoseg.blocks.guided_unet import Plain
from worlds import classes_task, make_batch


def built(options="", task=None):
    torch.manual_seed(0)
    text = f"agunet:widths=4x8x8x8{options}"
    return registry.build("networks", text, task or classes_task(2, 32))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_gate_scales_every_voxel_by_one_share(dims):
    torch.manual_seed(0)
    gate = AttentionGate(dims, 6, 4, 3, join="concat").eval()
    skip, below = torch.randn(2, 6, *(5,) * dims), torch.randn(2, 4, *(5,) * dims)
    alpha = gate.alpha(skip, below)
    assert alpha.shape == (2, 1, *(5,) * dims)
    assert ((alpha > 0) & (alpha < 1)).all()
    torch.testing.assert_close(gate(skip, below), skip * alpha)
    gate.psi[1].bias.data.fill_(100.0)  # wide open
    assert torch.equal(gate(skip, below), skip)


def test_options_leave_out_what_they_name():
    task = classes_task(2, 32)
    whole = built(task=task).train()
    assert len(whole(make_batch(task))) == 3
    assert len(built(",deep=false", task).train()(make_batch(task))) == 1
    assert not len(built(",multi_scale=false").look)
    assert all(isinstance(gate, Plain) for gate in built(",gates=false").gates)

    def count(network):
        return sum(value.numel() for value in network.parameters())

    sizes = [count(built(text)) for text in (",gates=false", ",multi_scale=false", ",deep=false")]
    assert all(size < count(whole) for size in sizes)


def test_the_image_is_seen_at_every_scale():
    task = classes_task(2, 32)
    network, batch = built(task=task).eval(), make_batch(task)
    for pool in network.pool:  # nothing comes from above
        pool.register_forward_hook(lambda module, given, found: 0 * found)
    before = network.encode(batch)
    after = network.encode(batch.but(image=batch.image + torch.randn_like(batch.image)))
    assert all(not torch.allclose(one, other) for one, other in zip(before, after))
