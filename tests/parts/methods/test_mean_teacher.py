"""Mean Teacher: how the teacher follows, how consistency rises, and that it helps few labels."""

import math

import pytest
import torch

from oncoseg.blocks.ema import Ema, running_mean
from oncoseg.blocks.supervision import ramp_up
from toys import batch_of, blobs, build, dice, few_and_many, learn


def batch(count=4, known=2):
    image, mask = blobs(count, 5)
    return batch_of(image, mask, torch.arange(count) < known)


def weights(network):
    return torch.cat([value.detach().flatten() for value in network.parameters()])


def shift(network, by):
    with torch.no_grad():
        for value in network.parameters():
            value.add_(by)


def test_the_first_update_copies_and_later_ones_average():
    method = build("mean_teacher:decay=0.99").double()
    shift(method.network, 0.5)
    method.after_step(0)
    assert torch.equal(weights(method.teacher.network), weights(method.network))
    method.teacher.updates.fill_(10_000)
    old = weights(method.teacher.network).clone()
    shift(method.network, 1.0)
    method.after_step(10_000)
    expected = 0.99 * old + 0.01 * weights(method.network)
    assert torch.allclose(weights(method.teacher.network), expected, rtol=0, atol=1e-12)


def test_until_the_decay_is_reached_the_teacher_is_the_mean_of_all_students():
    student = torch.nn.Linear(1, 1, bias=False)
    teacher = Ema(student, 0.99, limit=running_mean)
    for value in (1.0, 4.0, 7.0):
        torch.nn.init.constant_(student.weight, value)
        teacher.update(student)
    assert float(teacher.network.weight) == pytest.approx(4)


def test_buffers_are_followed_and_a_steady_teacher_stays_in_evaluation():
    student = torch.nn.BatchNorm1d(1)
    teacher = Ema(student, 0.5, limit=running_mean, steady=True)
    student.running_mean.fill_(3)
    student.num_batches_tracked.fill_(7)
    teacher.update(student)
    assert float(teacher.network.running_mean) == 3
    assert int(teacher.network.num_batches_tracked) == 7
    assert not teacher.train().network.training
    assert Ema(student, 0.5).train().network.training


def test_consistency_rises_from_exp_minus_5_to_1():
    assert ramp_up(0, 40) == pytest.approx(math.exp(-5))
    assert ramp_up(20, 40) == pytest.approx(math.exp(-1.25))
    assert ramp_up(40, 40) == ramp_up(400, 40) == ramp_up(0, 0) == 1


def test_a_teacher_equal_to_its_student_agrees_without_noise_and_noise_is_clipped():
    still, method = build("mean_teacher:noise=0,shift=0"), build("mean_teacher:noise=1,clip=0.2")
    given = batch()
    assert float(still.losses(given, 6000)["consistency"].detach()) == 0
    assert float(method.losses(given, 6000)["consistency"].detach()) > 0
    apart = (method.noisy(given).image - given.image).abs()
    assert float(apart.max()) == pytest.approx(0.2, abs=1e-6)
    absent = given.but(present=torch.zeros_like(given.present))
    assert torch.equal(method.noisy(absent).image, given.image)


def test_what_moves_with_its_image_agrees_and_labels_stay_in_place():
    method, given = build("mean_teacher:noise=0,shift=3,consistency=1"), batch()

    class Bright(torch.nn.Module):
        def forward(self, batch):
            return [torch.cat([-batch.image, batch.image], dim=1)]

    method.network = method.teacher = Bright()
    for step in range(5):
        assert float(method.losses(given, 6000 + step)["consistency"]) == 0
    seen = method.shifted(given, (2, -1, 0)[: given.image.ndim - 2])
    assert torch.equal(seen.image[:2], given.image[:2])
    assert torch.equal(seen.image[2:, :, 2:, :-1], given.image[2:, :, :-2, 1:])
    assert not seen.image[2:, :, :2].any()
    assert not seen.weight[2:, :, :, -1:].any()


def test_half_of_the_supervised_loss_and_no_gradient_to_the_teacher():
    method, plain = build("mean_teacher"), build("supervised")
    losses = method.losses(batch(), 0)
    known = plain.losses(batch(), 0)["segmentation"]
    assert float(losses["segmentation"].detach()) == pytest.approx(float(known.detach()) / 2)
    torch.stack(list(losses.values())).sum().backward()
    assert all(value.grad is None for value in method.teacher.parameters())


@pytest.mark.slow
def test_unlabelled_images_help_few_labels():
    image, mask = blobs(100, 999)
    gains = []
    for seed in range(3):
        plain, method = (
            learn(build(spelled, seed), few_and_many(seed), 300)
            for spelled in (
                "supervised",
                "mean_teacher:ramp_up=200",
            )
        )
        gains.append(dice(method.network, image, mask) - dice(plain.network, image, mask))
    assert sum(gains) / 3 >= 0.02
    assert min(gains) >= -0.02
