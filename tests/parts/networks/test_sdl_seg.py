"""SDL-Seg: a map of markers that is exact in millimetres, and that finds what cannot be seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from oncoseg import registry
from oncoseg.blocks.saliency import nearness, small_parts
from oncoseg.errors import BadOption
from worlds import classes_task, make_batch, regions_task

SMALL = "sdl_seg:network=(unet:width=4,blocks=1)"


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 2.5), (1.0, 1.0, 1.0), (3.0, 0.8, 1.1)])
def test_the_map_is_that_of_the_exact_distance(spacing):
    mask = np.random.default_rng(0).random((21, 17, 12)[: len(spacing)]) > 0.99
    mask.flat[5] = True
    distance = ndimage.distance_transform_edt(~mask, spacing)
    found = nearness(torch.from_numpy(mask)[None, None].float(), spacing, 6.0)[0, 0].numpy()
    np.testing.assert_allclose(found, np.exp(-(distance**2) / 72), atol=4e-4)
    assert (found[mask] == 1).all()


def test_it_falls_with_distance_from_the_marker_and_is_nothing_without_one():
    mask = torch.zeros(1, 1, 31, 9)
    assert not nearness(mask, (2.0, 1.0), 5.0).any()
    mask[..., 4, 4] = 1
    along = nearness(mask, (2.0, 1.0), 5.0)[0, 0, 4:, 4]
    assert float(along[0]) == 1
    assert (along[:10].diff() < 0).all()
    assert along[5] == pytest.approx(np.exp(-100 / 50))  # ten millimetres


def test_markers_are_small_and_bone_is_not():
    mask = torch.zeros(1, 1, 24, 24, 24)
    mask[..., 2:5, 2:5, 2:5] = 1  # 3 mm
    mask[..., 2:4, 20, 20] = 1
    mask[..., 12:20, 12:20, 12:20] = 1  # 8 mm
    mask[..., 20, 15, 15] = 1  # a spur of it
    found = small_parts(mask, (1.0,) * 3, 5.0)
    assert found.sum() == 27 + 2
    assert small_parts(mask, (1.0,) * 3, 2.0)[..., 2:4, 20, 20].sum() == 2
    assert small_parts(mask, (1.0,) * 3, 2.0).sum() == 2
    assert small_parts(mask, (3.0,) * 3, 5.0).sum() == 2  # the same voxels, three times as long


def test_bone_is_as_far_from_markers_on_every_side():
    mask = torch.zeros(1, 1, 40)
    mask[..., 15:25] = 1
    mask[..., [9, 30]] = 1  # six voxels away
    wide = mask[..., None].expand(1, 1, 40, 40)
    assert small_parts(wide, (1.0, 1.0), 5.0).sum() == 0
    assert small_parts(wide, (1.0, 1.0), 4.0).sum() == 80


def test_a_marker_at_the_edge_of_the_patch_is_one():
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :3, :3] = 1
    assert small_parts(mask, (1.0, 1.0), 4.0).sum() == 9


def test_without_the_map_it_is_the_network_inside():
    task = regions_task(3, 16)
    torch.manual_seed(0)
    bare = registry.build("networks", f"{SMALL},saliency=false", task).eval()
    torch.manual_seed(0)
    inside = registry.build("networks", "unet:width=4,blocks=1", task).eval()
    batch = make_batch(task)
    assert torch.equal(bare(batch)[0], inside(batch)[0])


def test_markers_are_looked_for_in_the_modality_that_is_named_where_it_is():
    task = regions_task(2, 16)
    network = registry.build("networks", f"{SMALL},modality=t2", task)
    batch = make_batch(task, size=1)
    image = torch.zeros_like(batch.image)
    image[:, 2, 8, 8], image[:, 0, 3, 3] = 9, 9
    marked = network.markers(batch.but(image=image))
    assert marked.nonzero().tolist() == [[0, 0, 8, 8]]
    present = batch.present.clone()
    present[:, 2] = False
    assert not network.markers(batch.but(image=image, present=present)).any()


def beds(seed, size=4):
    """Discs of 10 mm round a marker, which alone can be seen; pixels are 1 x 2 mm."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(8, 24, (size, 2), generator=generator)
    rows, columns = torch.arange(32.0).view(1, 32, 1), 2 * torch.arange(32.0).view(1, 1, 32)
    away = (rows - places[:, 0].view(-1, 1, 1)) ** 2 + (
        columns - 2 * places[:, 1].view(-1, 1, 1)
    ) ** 2
    bed = (away < 100).float()
    image = torch.randn(size, 1, 32, 32, generator=generator)
    image[torch.arange(size), 0, places[:, 0], places[:, 1]] = 6
    task = replace(classes_task(2, 32, classes=1), spacing=(1.0, 2.0))
    batch = make_batch(task, size=size)
    return task, batch.but(image=image, label=torch.stack([1 - bed, bed], dim=1))


def learned(options):
    torch.manual_seed(0)
    task, unseen = beds(1000, size=8)
    network = registry.build("networks", f"{SMALL}{options}", task)
    loss = registry.build("losses", "dice_ce", exclusive=True)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(25):
        _, batch = beds(step)
        optimiser.zero_grad()
        loss(network(batch)[0], batch.label, batch.weight).backward()
        optimiser.step()
    with torch.no_grad():
        found = network.eval()(unseen)[0].argmax(1).float()
    true = unseen.label[:, 1]
    return float(2 * (found * true).sum() / (found + true).sum())


def test_beds_round_markers_are_found_by_the_map():
    guided, plain = learned(""), learned(",saliency=false")
    assert guided > 0.9
    assert guided > plain + 0.1


def test_what_makes_no_map_is_refused():
    task = regions_task(2, 16)
    with pytest.raises(BadOption, match="modality of t1, t1ce, t2, flair, not 'ct'"):
        registry.build("networks", f"{SMALL},modality=ct", task)
    with pytest.raises(BadOption, match="largest and sigma above 0"):
        registry.build("networks", f"{SMALL},sigma=0", task)
    clipped = replace(task, modalities=("ct", *task.modalities[1:]))
    with pytest.raises(BadOption, match="no markers in 'ct': its intensities are clipped"):
        registry.build("networks", SMALL, clipped)
    registry.build("networks", f"{SMALL},saliency=false", clipped)
    registry.build("networks", f"{SMALL},modality=t2", clipped)
