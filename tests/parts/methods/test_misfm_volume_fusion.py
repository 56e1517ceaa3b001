"""Volume Fusion: the mixture is exact, its classes are as many as asked for, and it is learnt."""

import pytest
import torch

from oncoseg.blocks.mixing import block_grid
from oncoseg.registry import load
from toys import BLOBS, batch_of, blobs, build, learn


def batch(count=4, seed=5):
    image, mask = blobs(count, seed)
    return batch_of(image, mask, torch.zeros(count, dtype=torch.bool))


def views_of(method, monkeypatch, f, b):
    """Let every item have the same two views."""
    order = iter([f, b] * 100)

    def view(item, negative):
        image = next(order)
        return image, torch.ones_like(image, dtype=torch.bool), torch.ones_like(image)

    monkeypatch.setattr(method, "view", view)


def test_the_mixture_is_exact(monkeypatch):
    method, given = build("misfm_volume_fusion"), batch()
    f, b = torch.randn(2, 1, 1, 32, 32)
    views_of(method, monkeypatch, f, b)
    fused = method.fuse(given)
    k = fused.label.argmax(1, keepdim=True)
    alpha = k / 4
    assert torch.equal(fused.image, alpha * f + (1 - alpha) * b)
    assert torch.equal(fused.image[k == 4], f.expand_as(k)[k == 4])
    assert torch.equal(fused.image[k == 0], b.expand_as(k)[k == 0])
    assert set(k.unique().tolist()) == {0, 1, 2, 3, 4}


def test_equal_views_stay_as_they_are(monkeypatch):
    method, f = build("misfm_volume_fusion"), torch.randn(1, 1, 32, 32)
    views_of(method, monkeypatch, f, f)
    assert torch.allclose(method.fuse(batch()).image, f.expand(4, -1, -1, -1), atol=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (40, 56, 40)])
def test_blocks_have_one_class_and_the_wanted_share_of_them_has_one(shape):
    torch.manual_seed(0)
    grid = block_grid(shape, (8, 8), 4, 0.7)
    blocks = 1
    for size in shape:
        blocks *= size // 8
    assert int((grid > 0).sum()) == int(0.7 * blocks) * 8 ** len(shape)
    cells = grid
    for axis in range(len(shape)):
        cells = cells.unfold(axis, 8, 8)
    cells = cells.flatten(len(shape))
    assert torch.equal(cells.amin(-1), cells.amax(-1))
    shares = torch.bincount(grid.flatten(), minlength=5) / grid.numel()
    assert 0.6 < float(shares[1:].sum()) <= 0.7


def test_the_network_is_built_for_the_shares():
    task = load("methods", "misfm_volume_fusion").pretext(BLOBS, classes=3, share=0.5)
    assert (task.outputs, task.exclusive, task.patch) == (4, True, BLOBS.patch)
    assert task.modalities == BLOBS.modalities


def test_values_stay_in_their_range_and_absent_modalities_stay_empty():
    method, given = build("misfm_volume_fusion"), batch()
    given = given.but(present=given.present & (torch.arange(32) < 16), weight=given.weight)
    for negative in (False, True):
        image, present, _ = method.view(given[:1], negative)
        assert image.min() >= given.image.min()
        assert image.max() <= given.image.max()
        assert (image[~present] == 0).all()
    nothing = given.but(present=torch.zeros_like(given.present))
    assert not method.view(nothing[:1], negative=False)[0].any()


def test_shares_are_learnt():
    torch.manual_seed(0)
    image = torch.nn.functional.avg_pool2d(torch.randn(8, 1, 34, 34), 3, stride=1) * 3
    given = batch_of(image, torch.zeros_like(image), torch.zeros(8, dtype=torch.bool))
    spelled = "misfm_volume_fusion:classes=2,blocks=8x8,scale=1x1"
    method = learn(build(spelled, width=8), lambda step: given, 80)
    torch.manual_seed(99)
    fused = method.fuse(given)
    with torch.no_grad():
        found = method.network.eval()(fused)[0].argmax(1)
    truth = fused.label.argmax(1)
    commonest = float(torch.bincount(truth.flatten()).max() / truth.numel())
    assert float((found == truth).float().mean()) > commonest + 0.05
