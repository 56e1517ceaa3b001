"""FreeTumor: a generator of tumours against a discriminator, judged by a frozen segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from oncoseg import registry
from oncoseg.blocks import implants
from oncoseg.blocks.implants import Implants, Lesions, missed
from oncoseg.case import Batch, Task
from oncoseg.errors import BadRun
from oncoseg.registry import Card
from oncoseg.trainable import Loss, Method, Network, Optimise

CARD = Card(
    "FreeTumor: Advance Tumor Segmentation via Large-Scale Tumor Synthesis",
    2024,
    arxiv="2406.01264",
    reading="Our reading: intensities are in deviations, so that a difference is scaled by "
    "`contrast`; with several modalities there is a map for each; texture is interpolated noise of "
    "the published mean; the discriminator sees the same implants as the generator in a step.",
)


class Freetumor(Method):
    """The network gives difference maps d; an implant is x - `contrast` * g * d * texture.

    g is the blurred shape, a deformed ellipsoid of one of `radii` mm in its organ (`organs`, as
    `liver+kidney`, in the order of `lesions`; the body without), where no real lesion is. The
    discriminator tells background, real and fake apart, L_D = (1 - P(real | real) + 1 - P(fake |
    fake)) / 2; the generator lowers `adversarial` * (1 - P(real | fake)) and, with a segmenter in
    `model`, 1 - P(lesion | fake). The result is the generator, for the augmentation of this name.
    """

    needs = ("labeled",)
    segments = False

    def __init__(
        self,
        network: Network,
        task: Task,
        loss: Loss,
        *,
        model: str = "",
        lesions: str = "",
        organs: str = "",
        radii: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0),
        contrast: float = 3.0,
        adversarial: float = 0.1,
        discriminator: str = "unet:width=8",
    ) -> None:
        super().__init__(network, task, loss)
        self.model, self.lesions = model, Lesions.of(task, lesions, organs)
        self.radii, self.contrast, self.adversarial = radii, contrast, adversarial
        faces = {"real": 1, "fake": 2}
        told = replace(task, labels=faces, regions={name: (name,) for name in faces})
        self.discriminator: Network = registry.build("networks", discriminator, told)
        # In a list, the segmenter is no part of the method: never trained, saved or averaged.
        self.segmenters: list[Network] = []

    @classmethod
    def pretext(cls, task: Task, **options: Any) -> Task:
        """One map for each lesion in each modality."""
        lesions = Lesions.of(task, options.get("lesions", ""), options.get("organs", ""))
        return implants.painted(task, lesions.names)

    @property
    def trained(self) -> Sequence[nn.Module]:
        """Generator and discriminator."""
        return [self.network, self.discriminator]

    def use(self, name: str, network: Network, task: Task) -> None:
        """The segmenter."""
        if task.regions != self.task.regions or task.labels != self.task.labels:
            raise BadRun(f"{self.model} segments {', '.join(task.regions)}, not this run's regions")
        self.segmenters = [network.eval()]

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`discriminator`, `adversarial` and, with a segmenter, `segmentation`."""
        made, fake = self.implant(batch)
        return {"discriminator": self.tell(fake, batch, made)} | self.deceive(fake, made)

    def update(self, batch: Batch, step: int, optimise: Optimise) -> dict[str, Tensor]:
        """A step of the discriminator, then one of the generator on the same implants."""
        made, fake = self.implant(batch)
        told = self.tell(fake, batch, made)
        optimise(told, [self.discriminator])
        deceived = self.deceive(fake, made)
        optimise(sum(deceived.values(), told.new_zeros(())), [self.network])
        return {"discriminator": told} | deceived

    def implant(self, batch: Batch) -> tuple[Implants, Batch]:
        """Implants for a batch, and the batch with them."""
        made = implants.draw(batch, self.lesions, self.radii)
        maps = implants.differences(self.network(batch)[0])
        return made, made.painted(batch, maps, self.contrast)

    def tell(self, fake: Batch, before: Batch, made: Implants) -> Tensor:
        """The discriminator's loss, without gradient to the generator."""
        real = torch.stack([self.lesions.real(label) for label in before.label])[:, None]
        logits = self.discriminator(fake.but(image=fake.image.detach()))[0]
        return implants.telling(logits, real, made.region)

    def deceive(self, fake: Batch, made: Implants) -> dict[str, Tensor]:
        """The generator's losses."""
        chance = self.discriminator(fake)[0].float().softmax(1)
        losses = {"adversarial": self.adversarial * missed(chance[:, 1:2], made.region)}
        for segmenter in self.segmenters:
            logits, rows = segmenter(fake)[0], made.rows(fake.label)
            found = implants.recognised(logits, rows, exclusive=self.task.exclusive)
            losses["segmentation"] = missed(found, made.region)
        return losses
