"""Landmarks: where outlines put them, what is not known, and that contours are learned."""

import numpy as np
import torch

from oncoseg import registry
from oncoseg.blocks.graphs import circle
from oncoseg.methods.landmarks import landmarks
from worlds import classes_task, make_batch

SMALL = "hybridgnet:width=2,nodes=16,latent=8,order=3"


def built(task, options=""):
    torch.manual_seed(0)
    network = registry.build("networks", SMALL, task)
    loss = registry.build("losses", "dice_ce", exclusive=task.exclusive)
    return registry.build("methods", f"landmarks{options}", network, task, loss)


def test_landmarks_lie_evenly_on_the_longest_outline_from_the_top_on_clockwise():
    mask = np.zeros((12, 12), dtype=bool)
    mask[2:10, 3:7] = True
    mask[11, 11] = True
    found = landmarks(mask, 24)
    assert np.allclose(found[0], [1.5, 4.5], atol=0.1)
    assert np.allclose(found[1] - found[0], [0, 1], atol=0.1)  # to the right, a pixel on
    assert np.allclose(np.abs(found - [5.5, 4.5]).max(0), [4, 2], atol=1e-6)
    apart = np.linalg.norm(found - np.roll(found, 1, 0), axis=1)
    assert apart.max() < 1.01
    assert apart.min() > 0.7  # across a corner
    assert np.isnan(landmarks(np.zeros((4, 4), bool), 6)).all()


def test_they_run_as_the_circle_does_that_contours_start_from():
    rows, columns = np.mgrid[:64, :64]
    disc = (rows - 32) ** 2 + (columns - 32) ** 2 < 16**2
    apart = landmarks(disc, 32) / 64 - circle([32]).numpy()
    assert np.abs(apart).max() < 0.06


def test_what_is_not_labelled_moves_nothing():
    task = classes_task(2, 64)
    method, batch = built(task), make_batch(task)
    losses = method.losses(batch.but(labeled=torch.zeros(2, dtype=torch.bool)), 0)
    assert all(float(value.detach()) == 0 for value in losses.values())
    annotated = batch.annotated.clone()
    annotated[:, 1] = False  # nothing is known of the first class
    torch.manual_seed(1)
    one = method.losses(batch.but(annotated=annotated), 0)["places"]
    torch.manual_seed(1)
    assert one != method.losses(batch, 0)["places"]


def test_contours_are_learned():
    task = classes_task(2, 64)
    method, batch = built(task).train(), make_batch(task)
    optimiser = torch.optim.Adam(method.network.parameters(), lr=3e-3)
    for step in range(180):
        optimiser.zero_grad()
        sum(method.losses(batch, step).values()).backward()
        optimiser.step()
    found = method.network.eval()(batch)[0].argmax(1)
    truth = batch.label[:, 2] > 0
    assert 2 * ((found == 2) & truth).sum() > 0.8 * ((found == 2).sum() + truth.sum())
    assert (found == 1).sum() < 20  # the class that is not there has next to no area
