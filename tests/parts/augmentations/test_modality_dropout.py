"""Modality dropout: any subset but none, evenly by size."""

from collections import Counter
from dataclasses import replace

import torch

from oncoseg import registry
from worlds import make_batch, regions_task

TASK = regions_task(2, 8)


def test_one_is_always_kept_and_every_size_is_seen():
    augment = registry.build("augmentations", "modality_dropout:probability=1", TASK)
    torch.manual_seed(0)
    batch = make_batch(TASK, size=300)
    kept = augment(batch).present.flatten(2).any(2).sum(1)
    sizes = Counter(kept.tolist())
    assert set(sizes) == {1, 2, 3}
    assert min(sizes.values()) > 70


def test_probability_zero_keeps_all_and_a_lone_modality_is_never_dropped():
    batch = make_batch(TASK)
    assert augment_with(0, batch).present.all()
    lone = batch.present.clone()
    lone[:, 1:] = False
    assert augment_with(1, batch.but(present=lone)).present[:, 0].all()


def test_the_colours_of_a_picture_are_dropped_together_or_not_at_all():
    task = replace(TASK, modalities=("blue", "green", "red"))
    augment = registry.build("augmentations", "modality_dropout:probability=1", task)
    assert augment(make_batch(task, size=20)).present.all()
    task = replace(TASK, modalities=("blue", "depth", "green", "red"))
    augment = registry.build("augmentations", "modality_dropout:probability=1", task)
    torch.manual_seed(0)
    kept = augment(make_batch(task, size=100)).present.flatten(2).any(2)
    assert {tuple(row) for row in kept.tolist()} == {
        (True, False, True, True),
        (False, True, False, False),
    }


def augment_with(probability, batch):
    return registry.build("augmentations", f"modality_dropout:probability={probability}", TASK)(
        batch
    )
