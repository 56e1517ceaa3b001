"""A toy world on which methods learn in seconds: ellipses on a textured ground."""

import torch

from oncoseg import registry
from oncoseg.blocks.noise import blur
from oncoseg.case import Batch, Prompts, Task

BLOBS = Task(
    "blobs",
    ("image",),
    {"blob": 1},
    {"blob": ("blob",)},
    spacing=(1.0, 1.0),
    patch=(32, 32),
    strides=((2, 2), (2, 2)),
)


def blobs(count, seed, noise=0.5, radius=(4, 8)):
    """Images (count, 1, 32, 32) and masks of the same shape, one ellipse each."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high, *shape):
        return low + (high - low) * torch.rand(count, *shape, 1, 1, generator=generator)

    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    angle = draw(0, 3.14, 1)
    down, along = rows - draw(10, 22, 1), columns - draw(10, 22, 1)
    first = (down * angle.cos() + along * angle.sin()) / draw(*radius, 1)
    second = (along * angle.cos() - down * angle.sin()) / draw(*radius, 1)
    mask = (first**2 + second**2 < 1).float()
    texture = blur(torch.randn(count, 1, 32, 32, generator=generator), [2.0, 2.0]) * 4
    grain = torch.randn(count, 1, 32, 32, generator=generator) * noise
    return texture * 0.5 + grain + mask * draw(0.8, 1.6, 1), mask


def batch_of(image, mask, labeled):
    """A batch of BLOBS; what is not labelled shows no label."""
    label = torch.cat([1 - mask, mask], dim=1) * labeled.view(-1, 1, 1, 1)
    return Batch(
        image=image,
        present=torch.ones_like(image, dtype=torch.bool),
        label=label,
        weight=torch.ones_like(image),
        labeled=labeled,
        annotated=torch.ones(len(image), 2, dtype=torch.bool),
        domain=torch.zeros(len(image), dtype=torch.long),
        prompts=Prompts.none(image),
    )


def build(spelled, seed=0, width=4):
    """A method with a small U-Net for BLOBS, or for what the method makes of it."""
    torch.manual_seed(seed)
    name, options = registry.parse("methods", spelled)
    task = registry.load("methods", name).pretext(BLOBS, **options)
    network = registry.build("networks", f"unet:width={width}", task)
    loss = registry.build("losses", "dice_ce", exclusive=task.exclusive)
    return registry.build("methods", spelled, network, BLOBS, loss)


def learn(method, batches, steps, rate=3e-3):
    """So many steps; `batches` gives the batch of a step. The rate falls to zero at the end."""
    values = [value for part in method.trained for value in part.parameters()]
    optimiser = torch.optim.Adam(values, lr=rate)
    method.train()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps) ** 0.9
        torch.manual_seed(step)
        losses = method.losses(batches(step), step)
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
        method.after_step(step)
    return method


def few_and_many(seed, few=4, many=60, half=4):
    """Batches as the sampler gives them: half of few labelled images, half of many others."""
    image, mask = blobs(few + many, seed)
    labeled = torch.arange(few + many) < few

    def at(step):
        generator = torch.Generator().manual_seed(step)
        known = torch.randint(few, (half,), generator=generator)
        other = few + torch.randint(many, (half,), generator=generator)
        index = torch.cat([known, other])
        return batch_of(image[index], mask[index], labeled[index])

    return at


def dice(network, image, mask):
    """Dice of the one region over all images together."""
    with torch.no_grad():
        logits = network.eval()(batch_of(image, mask, torch.ones(len(image), dtype=torch.bool)))
    found = logits[0].argmax(1, keepdim=True)
    return float(2 * (found * mask).sum() / (found.sum() + mask.sum()))
