"""Tumour synthesis: nested, inside healthy brain, bright where gliomas are bright."""

import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadRun
from worlds import classes_task, make_batch, regions_task

TASK = regions_task(3, 48)


def implanted(seed):
    augment = registry.build(
        "augmentations", "tumour_synthesis:probability=1,smallest=10,largest=14", TASK
    )
    batch = make_batch(TASK)
    image = torch.full_like(batch.image, 0.1)
    image[:, :, :6] = 0  # air
    label = batch.label.clone()
    torch.manual_seed(seed)
    before = batch.but(image=image, label=label)
    return before, augment(before)


@pytest.mark.parametrize("seed", range(4))
def test_regions_are_nested_and_never_in_air_or_in_a_tumour_that_is_there(seed):
    before, after = implanted(seed)
    whole, core, enhancing = after.label.unbind(1)
    assert (whole >= core).all()
    assert (core >= enhancing).all()
    new = (after.label - before.label)[:, 0]
    assert float(new.sum()) > 500
    assert not after.label[:, :, :6].sum() > before.label[:, :, :6].sum()
    old = before.label[:, 0] > 0
    assert torch.equal(after.label[:, :, old[0]], before.label[:, :, old[0]])


def test_contrast_has_the_usual_direction():
    flair, enhancement = [], []
    for seed in range(6):
        before, after = implanted(seed)
        ring = (after.label[:, 2] > 0) & (before.label[:, 0] == 0)
        oedema = (after.label[:, 0] > 0) & (after.label[:, 1] == 0) & (before.label[:, 0] == 0)
        enhancement.append(float(after.image[:, 1][ring].mean()))
        flair.append(float(after.image[:, 3][oedema].mean()))
    assert sum(value > 0.8 for value in enhancement) >= 5
    assert sum(value > 0.4 for value in flair) >= 5


def test_other_tasks_are_refused():
    with pytest.raises(BadRun, match="NCR, ED and ET"):
        registry.build("augmentations", "tumour_synthesis", classes_task())
