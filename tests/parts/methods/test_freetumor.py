"""FreeTumor: who is told what, which network moves in which step, and what is never changed."""

from dataclasses import replace

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.implants import Lesions, draw, painted, telling
from oncoseg.errors import BadOption, BadRun
from oncoseg.train.loop import Step
from worlds import build_method, classes_task, make_batch, regions_task

LIVER = replace(
    classes_task(2, 32),
    labels={"liver": 1, "tumour": 2},
    regions={"liver": ("liver",), "tumour": ("tumour",)},
)


def patient(size=2):
    """A liver in the middle that is bright, a real tumour in one of its corners, and air."""
    batch = make_batch(LIVER, size=size)
    values = torch.zeros(size, 32, 32, dtype=torch.long)
    values[:, 6:28, 6:28] = 1
    values[:, 8:12, 8:12] = 2
    image = torch.where(values == 1, 1.0, torch.where(values == 2, -1.0, 0.5))[:, None]
    image[:, :, :2] = 0
    label = torch.nn.functional.one_hot(values, 3).movedim(-1, 1).float()
    return batch.but(image=image, label=label), values


def method_for(task, spelled="freetumor"):
    torch.manual_seed(0)
    name, options = registry.parse("methods", spelled)
    trained = registry.load("methods", name).pretext(task, **options)
    network = registry.build("networks", "unet:width=4", trained)
    return registry.build("methods", spelled, network, task, None)


def test_the_discriminator_loss_by_hand():
    """P(real) of the real voxel is .8, P(fake) of the two fake ones .5 and .9: (.2 + .3) / 2."""
    chance = torch.tensor([[0.1, 0.8, 0.1], [0.3, 0.2, 0.5], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05]])
    logits = chance.log().T.reshape(1, 3, 2, 2)
    real = torch.tensor([[1, 0], [0, 0]]).bool().view(1, 1, 2, 2)
    fake = torch.tensor([[0, 1], [1, 0]]).bool().view(1, 1, 2, 2)
    assert float(telling(logits, real, fake)) == pytest.approx((0.2 + 0.3) / 2, abs=1e-6)
    nothing = torch.zeros_like(real)
    assert float(telling(logits, nothing, fake)) == pytest.approx(0.15, abs=1e-6)


def test_the_generator_loss_by_hand():
    """A tenth of the miss of the discriminator, and the whole miss of the segmenter."""
    method = method_for(LIVER, "freetumor:organs=liver")
    batch, _ = patient()
    implants, fake = method.implant(batch)
    here = implants.region[:, 0]

    class Says(torch.nn.Module):
        def __init__(self, chance):
            super().__init__()
            self.logits = torch.tensor(chance).log()

        def forward(self, batch):
            return [self.logits.view(1, 3, 1, 1).expand(len(batch), 3, 32, 32)]

    method.discriminator = Says([0.1, 0.6, 0.3])
    method.segmenters = [Says([0.5, 0.25, 0.25])]
    assert here.any()
    losses = method.deceive(fake, implants)
    assert float(losses["adversarial"]) == pytest.approx(0.1 * 0.4, abs=1e-6)
    assert float(losses["segmentation"]) == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_only_the_organ_changes_and_real_tumours_stay(seed):
    method = method_for(LIVER, "freetumor:organs=liver,radii=4x8")
    batch, values = patient()
    torch.manual_seed(seed)
    implants, fake = method.implant(batch)
    changed = (fake.image != batch.image)[:, 0]
    assert changed.any()
    assert not changed[values != 1].any()
    after = fake.label.argmax(1)
    region = implants.region[:, 0]
    assert region.any()
    assert (after[region] == 2).all()  # from the organ to its tumour
    assert (values[region] == 1).all()
    assert torch.equal(after[~region], values[~region])


def test_each_step_moves_one_network():
    method = build_method("freetumor", regions_task(2)).train()
    batch = make_batch(regions_task(2))
    both = [list(part.parameters()) for part in method.trained]
    optimiser = torch.optim.SGD([value for part in both for value in part], lr=1.0)
    moved = []

    class Watched(Step):
        def __call__(self, loss, modules):
            before = [[value.detach().clone() for value in part] for part in both]
            super().__call__(loss, modules)
            pairs = zip(before, both)
            moved.append([any(not torch.equal(a, b) for a, b in zip(*pair)) for pair in pairs])

    torch.manual_seed(0)
    method.update(batch, 0, Watched(optimiser))
    assert moved == [[False, True], [True, False]]


def test_it_is_trained_on_the_difference_of_each_lesion_in_each_modality():
    task = registry.load("methods", "freetumor").pretext(regions_task(2))
    assert task.outputs == 3 * 4
    assert list(task.regions)[:2] == ["NCR in t1", "NCR in t1ce"]
    one = registry.load("methods", "freetumor").pretext(LIVER, organs="liver")
    assert list(one.regions) == ["tumour"]
    assert one.outputs == 1


def test_each_organ_has_its_own_tumour():
    task = replace(
        classes_task(2, 32, 4),
        labels={"liver": 1, "liver_tumour": 2, "kidney": 3, "kidney_tumour": 4},
        regions={name: (name,) for name in ("liver", "liver_tumour", "kidney", "kidney_tumour")},
    )
    lesions = Lesions.of(task, "liver_tumour+kidney_tumour", "liver+kidney")
    batch = make_batch(task, size=8)
    values = torch.ones(8, 32, 32, dtype=torch.long)
    values[:, :, 16:] = 3
    label = torch.nn.functional.one_hot(values, 5).movedim(-1, 1).float()
    torch.manual_seed(0)
    implants = draw(batch.but(label=label), lesions, (6.0,))
    made = implants.painted(batch.but(label=label), torch.ones(8, 2, 32, 32), 1.0)
    after, region = made.label.argmax(1), implants.region[:, 0]
    assert torch.equal(after[region], values[region] + 1)
    assert set(implants.kind.tolist()) == {0, 1}


def test_what_cannot_be_is_refused():
    with pytest.raises(BadOption, match="no label 'spleen'"):
        Lesions.of(LIVER, "tumour", "spleen")
    merged = replace(LIVER, regions={"all": ("liver", "tumour")})
    with pytest.raises(BadOption, match="do not tell lesions"):
        Lesions.of(merged, "tumour", "liver")
    method = method_for(LIVER, "freetumor:model=other.onco")
    with pytest.raises(BadRun, match=r"other\.onco segments"):
        method.use("model", method.network, painted(LIVER, ["tumour"]))
