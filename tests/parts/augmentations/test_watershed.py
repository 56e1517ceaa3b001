"""Watershed: basins are flat and end where something else begins; labels stay as they are."""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadOption
from worlds import make_batch, regions_task


def built(dims=2, options="probability=1"):
    return registry.build("augmentations", f"watershed:{options}", regions_task(dims, 32))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_basin_is_its_mean_and_the_whole_keeps_its_own(dims):
    torch.manual_seed(0)
    image = torch.randn(4, *(12,) * dims)
    augment = built(dims)
    torch.manual_seed(1)
    flat = augment.redrawn(image)
    torch.manual_seed(1)
    basins = torch.from_numpy(augment.basins(image.mean(0).numpy()))
    assert len(basins.unique()) == 12**dims // 64
    for place in basins.unique():
        inside = basins == place
        expected = image[:, inside].mean(1, keepdim=True).expand(-1, int(inside.sum()))
        torch.testing.assert_close(flat[:, inside], expected)
    torch.testing.assert_close(flat.flatten(1).mean(1), image.flatten(1).mean(1))


def test_no_basin_holds_two_things_apart():
    torch.manual_seed(0)
    image = torch.zeros(1, 32, 32)
    image[:, :, 16:] = 10.0
    torch.testing.assert_close(built().redrawn(image), image)
    inverse = 5 - image
    torch.testing.assert_close(built().redrawn(inverse), inverse)


def test_labels_stay_and_the_seed_decides():
    batch = make_batch(regions_task(2, 32))
    torch.manual_seed(3)
    once = built()(batch)
    torch.manual_seed(3)
    again = built()(batch)
    assert torch.equal(once.image, again.image)
    assert not torch.equal(once.image, batch.image)
    assert torch.equal(once.label, batch.label)
    assert torch.equal(built(options="probability=0")(batch).image, batch.image)


def test_basins_are_more_than_a_voxel():
    with pytest.raises(BadOption, match="at least 2 voxels"):
        built(options="basin=1")
