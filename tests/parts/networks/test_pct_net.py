"""PCT-Net: the published size, three ways to treat thick slices, windows beside convolutions."""

import pytest
import torch

from oncoseg import registry
from oncoseg.case import Task
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch

PUBLISHED = 45_287_730
SMALL = "pct_net:widths=4x8x8x16x32,window=2"


def thick(strides, size=(16, 32, 32)):
    labels, regions = {"a": 1}, {"a": ("a",)}
    return Task("t", ("ct",), labels, regions, (5.0, 1.0, 1.0), size, strides)


def parameters(module):
    return sum(value.numel() for value in module.parameters())


def test_parameters_are_the_published_ones():
    """Which hold the parts of all three ways, and norms of the windows, that nothing uses."""
    task = thick(((2, 2, 2),) * 4, (64, 128, 128))
    with torch.device("meta"):
        each = [
            registry.build("networks", f"pct_net:widths=24x48x128x256x512,flat={flat}", task)
            for flat in range(3)
        ]
    sizes = [parameters(network) for network in each]
    own = ("enter", "down.0.", "down.1.", "encoder.0.", "encoder.1.", "up.0.", "up.1.", "join.0.")
    own += ("join.1.", "decoder.0.", "decoder.1.", "heads.0.", "heads.1.")
    named = each[0].named_parameters()
    shared = sum(value.numel() for name, value in named if not name.startswith(own))
    norms = 2 * (128 + 256) * 2 + 2 * 512
    assert sizes == [44_264_074, 44_196_826, 43_902_682]
    assert sum(sizes) - 2 * shared + norms == PUBLISHED


@pytest.mark.parametrize(
    ("flat", "slices"), [(0, [16, 8, 4, 2]), (1, [16, 16, 8, 4]), (2, [16, 16, 16, 8])]
)
def test_each_way_halves_thick_slices_later_and_gives_logits_at_four_levels(flat, slices):
    task = thick(((2, 2, 2),) * 4)
    network = registry.build("networks", f"{SMALL},flat={flat}", task).train()
    logits = network(make_batch(task))
    assert [each.shape[2:] for each in logits] == [
        (depth, 32 // 2**level, 32 // 2**level) for level, depth in enumerate(slices)
    ]
    assert len(network.eval()(make_batch(task))) == 1


def test_by_default_slices_are_treated_as_planned():
    planned = {2: ((1, 2, 2), (1, 2, 2), (2, 2, 2)), 1: ((1, 2, 2), (2, 2, 2)), 0: ((2, 2, 2),) * 2}
    for flat, strides in planned.items():
        assert registry.build("networks", SMALL, thick(strides)).flat == flat


def test_a_flat_network_looks_at_each_slice_alone_before_its_windows():
    torch.manual_seed(0)
    task = thick(((2, 2, 2),) * 4)
    network = registry.build("networks", f"{SMALL},flat=2", task).eval()
    batch = make_batch(task, size=1)
    changed = batch.image.clone()
    changed[:, :, 5] += 1
    for level in range(2):
        before = network.encode(batch)[level]
        after = network.encode(batch.but(image=changed))[level]
        differs = (before - after).abs().amax(dim=(0, 1, 3, 4)) > 0
        assert differs.nonzero().flatten().tolist() == [5]


def test_windows_are_added_to_convolutions():
    torch.manual_seed(0)
    task = classes_task(2, 32)
    network = registry.build("networks", SMALL, task).eval()
    block, features = network.encoder[2], torch.randn(1, 8, 8, 8)
    both = block(features)
    alone = block.windows(features.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(both - alone, block.convolutions(features))


def test_any_size_comes_back_whole_and_bad_options_are_refused():
    task = classes_task(2, 37)
    network = registry.build("networks", SMALL, task).train()
    assert [each.shape[2] for each in network(make_batch(task))] == [37, 19, 10, 5]
    with pytest.raises(BadOption, match="divide the last three"):
        registry.build("networks", "pct_net:widths=4x8x8x16x31", task)
    with pytest.raises(BadOption, match="flat in 0, 1 or 2"):
        registry.build("networks", "pct_net:flat=3", task)
