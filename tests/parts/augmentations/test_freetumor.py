"""FreeTumor's implants: only what the judge recognises is kept."""

import pytest
import torch
from torch import nn

from oncoseg import registry
from oncoseg.blocks.implants import draw, painted
from oncoseg.errors import BadRun
from oncoseg.train.loop import Step
from toys import BLOBS, batch_of, blobs, build, learn
from worlds import classes_task, make_batch

TASK = classes_task(2, 40, 1)


class Finds(nn.Module):
    """A segmenter that finds a share of the implant, in the order of its voxels."""

    def __init__(self, share, before):
        super().__init__()
        self.share, self.before = share, before

    def forward(self, batch):
        logits = torch.zeros_like(batch.label)
        for item, (label, old) in enumerate(zip(batch.label, self.before.label)):
            new = torch.nonzero((label[1] - old[1]).flatten() > 0.5).flatten()
            taken = new[: round(self.share * len(new))]
            logits[item, 1].view(-1)[taken] = 5
            logits[item, 0] += 1
        return [logits]


def healthy(size=4):
    batch = make_batch(TASK, size=size)
    label = torch.zeros_like(batch.label)
    label[:, 0] = 1
    return batch.but(label=label, image=torch.ones_like(batch.image))


@pytest.mark.parametrize(("share", "kept"), [(0.71, True), (0.69, False), (1.0, True)])
def test_the_judge_accepts_above_seven_tenths(share, kept):
    batch = healthy()
    augment = registry.build("augmentations", "freetumor:probability=1,radii=9,judge=x", TASK)
    augment.use("judge", Finds(share, batch), TASK)
    torch.manual_seed(0)
    result = augment(batch)
    changed = (result.image != batch.image).flatten(1).any(1)
    assert bool(changed.all()) == kept == bool(changed.any())
    assert bool((result.label[:, 1] > 0).any()) == kept


def test_without_a_generator_the_difference_is_a_number_from_two_to_seven_tenths():
    batch = healthy(32)
    augment = registry.build(
        "augmentations", "freetumor:probability=1,radii=9,contrast=1,passing=0", TASK
    )
    torch.manual_seed(0)
    drawn = augment.maps(batch)
    assert (drawn.flatten(1).amax(1) == drawn.flatten(1).amin(1)).all()
    assert 0.2 <= float(drawn.min()) < 0.3
    assert 0.6 < float(drawn.max()) <= 0.7
    result = augment(batch)
    assert float((batch.image - result.image).max()) <= 0.7  # g and texture are at most 1
    assert (result.image <= batch.image).all()


def test_the_generator_decides_the_sign():
    batch = healthy()
    augment = registry.build("augmentations", "freetumor:probability=1,model=x", TASK)

    class Brightens(nn.Module):
        def forward(self, batch):
            return [torch.full_like(batch.image, -2.0)]

    augment.use("model", Brightens(), painted(TASK, ["class_1"]))
    torch.manual_seed(0)
    assert (augment(batch).image >= batch.image).all()


def test_items_without_labels_are_left_alone():
    batch = healthy()
    augment = registry.build("augmentations", "freetumor:probability=1", TASK)
    known = torch.tensor([True, False, True, False])
    torch.manual_seed(0)
    result = augment(batch.but(labeled=known))
    changed = (result.image != batch.image).flatten(1).any(1)
    assert torch.equal(changed, known)


def test_a_generator_of_other_lesions_is_refused():
    augment = registry.build("augmentations", "freetumor:model=other.onco", TASK)
    with pytest.raises(BadRun, match=r"other\.onco gives cyst, where freetumor asks for class_1"):
        augment.use("model", nn.Identity(), painted(TASK, ["cyst"]))


def test_shapes_have_about_the_radius_that_was_asked_for():
    task = classes_task(3, 40, 1)
    batch = make_batch(task, size=1)
    label = torch.zeros_like(batch.label)
    label[:, 0] = 1
    free = batch.but(label=label, image=torch.ones_like(batch.image))
    augment = registry.build("augmentations", "freetumor", task)
    torch.manual_seed(0)
    volumes = [float(draw(free, augment.lesions, (6.0,)).region.sum()) for _ in range(16)]
    ball = 4 / 3 * torch.pi * 6**3
    assert 0.5 * ball < sum(volumes) / 16 < 1.3 * ball  # some are cut by the edge of the patch
    assert len(set(volumes)) > 12


def recall(network, image, mask):
    """Share of the blobs' voxels that are found."""
    with torch.no_grad():
        logits = network.eval()(batch_of(image, mask, torch.ones(len(image), dtype=torch.bool)))
    return float((logits[0].argmax(1, keepdim=True) * mask).sum() / mask.sum())


def test_implants_raise_the_recall_of_a_network_that_saw_three_images():
    """Segmenter, generator against it, and a network that is shown its implants: as published."""
    three = batch_of(*blobs(3, 11), torch.ones(3, dtype=torch.bool))[torch.arange(6) % 3]
    judge = learn(build("supervised"), lambda step: three, 100).network
    judge.requires_grad_(requires_grad=False)
    method = build("freetumor:radii=6x8,model=x").train()
    method.use("model", judge, BLOBS)
    values = [value for part in method.trained for value in part.parameters()]
    optimiser = torch.optim.Adam(values, lr=3e-3)
    for step in range(60):
        torch.manual_seed(step)
        method.update(three, step, Step(optimiser))
    spelled = "freetumor:probability=0.7,radii=6x8,model=x,judge=x"
    augment = registry.build("augmentations", spelled, BLOBS)
    augment.use(
        "model", method.result.requires_grad_(requires_grad=False), painted(BLOBS, ["blob"])
    )
    augment.use("judge", judge, BLOBS)
    more = learn(build("supervised"), lambda step: augment(three), 100).network
    unseen = blobs(60, 999)
    assert recall(more, *unseen) > recall(judge, *unseen) + 0.01
