"""Small tasks and batches that tests share."""

import torch

from oncoseg.case import Batch, Prompts, Task


def regions_task(dims=3, size=32, modalities=("t1", "t1ce", "t2", "flair")):
    """Nested glioma regions."""
    return Task(
        "glioma",
        modalities,
        {"NCR": 1, "ED": 2, "ET": 4},
        {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
        spacing=(1.0,) * dims,
        patch=(size,) * dims,
        strides=((2,) * dims,) * 3,
    )


def classes_task(dims=3, size=32, classes=2):
    """Mutually exclusive classes in one modality."""
    labels = {f"class_{value}": value for value in range(1, classes + 1)}
    regions = {name: (name,) for name in labels}
    return Task(
        "toy", ("image",), labels, regions, (1.0,) * dims, (size,) * dims, ((2,) * dims,) * 3
    )


def make_batch(task, size=2, seed=0, margin=1.0):
    """Random images with a bright block of the last label and everything present."""
    generator = torch.Generator().manual_seed(seed)
    shape = tuple(round(length * margin) for length in task.patch)
    image = torch.randn(size, task.inputs, *shape, generator=generator)
    values = torch.zeros(size, *shape, dtype=torch.long)
    block = (slice(None), *(slice(length // 4, length // 2) for length in shape))
    values[block] = max(task.labels.values())
    image[(slice(None), slice(None), *block[1:])] += 3
    label = torch.from_numpy(task.encode(values.numpy())).movedim(0, 1).float()
    return Batch(
        image=image,
        present=torch.ones_like(image, dtype=torch.bool),
        label=label,
        weight=torch.ones(size, 1, *shape),
        labeled=torch.ones(size, dtype=torch.bool),
        annotated=torch.ones(size, task.outputs, dtype=torch.bool),
        domain=torch.zeros(size, dtype=torch.long),
        prompts=Prompts.none(image),
    )
