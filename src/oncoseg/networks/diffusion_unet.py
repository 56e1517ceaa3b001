"""A denoising U-Net that knows the time and a histogram, and inpaints lesions step by step."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.diffusion import Diffusion, Known, histogram, jumps, sinusoids
from oncoseg.blocks.implants import is_painted
from oncoseg.blocks.pyramid import stretched
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption, BadRun
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "LeFusion: Controllable Pathology Synthesis via Lesion-Focused Diffusion Models",
    2025,
    arxiv="2403.14066",
    reading="Our reading: plain convolutions in all axes and no attention; 50 steps with jumps of "
    "5, twice, in place of 300 with jumps of 10, ten times; intensities are deviations / `reach`; "
    "histograms to choose from are centres that follow the training by the nearest one.",
)


class DiffusionUnet(Network):
    """Every output is an image of its own, in which the region of that output is painted.

    A task of painted images (`blocks.implants.painted`) has one output a region and modality. Any
    other has one a region, in modality c mod M, and exclusive classes the unchanged image first.
    In training, forward predicts the noise that it added; in evaluation it paints the regions of
    `batch.label`, the same for the same batch, and leaves what is around them as it was: images in
    deviations, not logits. Without a label nothing is painted. `samples` paints anew each time.
    Texture follows a histogram of `bins` bins from -`reach` to `reach` deviations, one an output;
    while training, `controls` of them gather (see `remember`), and one is drawn to paint each item.
    """

    gives = ("noise",)
    only = ("noise",)
    alone = "it paints step by step, which no single graph holds"
    centres: Tensor
    counts: Tensor

    def __init__(
        self,
        task: Task,
        *,
        width: int = 32,
        limit: int = 256,
        steps: int = 50,
        jump: int = 5,
        repeats: int = 2,
        bins: int = 16,
        controls: int = 4,
        reach: float = 3.0,
    ) -> None:
        super().__init__()
        if min(width, steps, jump, repeats, bins, controls) < 1 or reach <= 0:
            raise BadOption("DiffusionUnet takes options of at least 1, and a reach above 0")
        self.dims, self.inputs, self.outputs = task.dims, task.inputs, task.outputs
        self.exclusive, self.bins, self.reach = task.exclusive, bins, reach
        self.regions = task.outputs // task.inputs if is_painted(task) else task.outputs
        self.process, self.schedule = Diffusion(steps), jumps(steps, jump, repeats)
        self.widths = [min(limit, width * 2**level) for level in range(len(task.strides) + 1)]
        self.strides = task.strides
        known = 4 * width
        self.wave = 2 * width
        self.clock = nn.Sequential(nn.Linear(self.wave, known), nn.SiLU(), nn.Linear(known, known))
        self.control = nn.Linear(task.outputs * bins, known)
        self.stem = CONV[task.dims](task.outputs, self.widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            Known(task.dims, a, b, known)
            for a, b in zip([self.widths[0], *self.widths], self.widths)
        )
        self.pool = nn.ModuleList(
            CONV[task.dims](width, width, stride, stride)
            for width, stride in zip(self.widths, self.strides)
        )
        self.up = nn.ModuleList(Known(task.dims, a + b, a, known) for a, b in pairwise(self.widths))
        self.head = CONV[task.dims](self.widths[0], task.outputs, 1)
        self.register_buffer("centres", torch.zeros(controls, task.outputs, bins))
        self.register_buffer("counts", torch.zeros(controls, task.outputs, dtype=torch.long))

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / product of strides up to i) of the images, without noise."""
        return self._down(self.pictures(batch), self._still(batch))

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """The noise (B, outputs, *S) predicted in images that have none."""
        return [self._up(pyramid, self._still(batch))]

    def forward(self, batch: Batch) -> list[Tensor]:
        """In training the noise predicted, in evaluation painted images: (B, outputs, *S)."""
        if not self.training:
            generator = torch.Generator(batch.image.device).manual_seed(0)
            return [self.paint(batch, self.drawn(len(batch), generator), generator)]
        clean = self.pictures(batch)
        time, noise = self.chance(clean)
        control = self.histogram(clean, self.masks(batch))
        return [self.denoise(self.process.noised(clean, time, noise), time, control)]

    def samples(self, batch: Batch, count: int) -> Tensor:
        """(count, B, outputs, *S): painted anew each time, by torch's own generator."""
        generator = torch.Generator(batch.image.device)
        generator.manual_seed(int(torch.randint(2**31, ())))
        draws = [
            self.paint(batch, self.drawn(len(batch), generator), generator) for _ in range(count)
        ]
        return torch.stack(draws)

    def denoise(self, image: Tensor, time: Tensor, control: Tensor) -> Tensor:
        """The noise in images (B, outputs, *S) in state `time` (B,).

        `control` (B, outputs, bins) says what is to be painted; zeros say nothing.
        """
        known = self._known(time + 1, control.flatten(1))
        return self._up(self._down(image, known), known).float()

    def shown(self, batch: Batch) -> Tensor:
        """The image (B, outputs, *S) that each output paints in, in deviations, 0 where absent."""
        first = int(self.exclusive)
        order = [0] * first + [place % self.inputs for place in range(self.outputs - first)]
        return (batch.image * batch.present)[:, order].float()

    def pictures(self, batch: Batch) -> Tensor:
        """What is shown, in units of `reach`."""
        return self.shown(batch) / self.reach

    def masks(self, batch: Batch) -> Tensor:
        """Where each output paints, (B, outputs, *S) bool, from a label of the task's regions.

        The background, where there is one, is never painted. No label, no region.
        """
        label = batch.label
        if label.ndim < 3:
            return torch.zeros_like(self.shown(batch), dtype=torch.bool)
        extra = label.shape[1] - self.regions
        if extra not in {0, 1}:
            raise BadRun(f"a painter of {self.regions} regions was shown {label.shape[1]}")
        painted = (label[:, extra:] > 0.5).repeat_interleave(self.outputs // self.regions, dim=1)
        if self.exclusive:
            painted[:, 0] = False
        return painted

    def histogram(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """(B, outputs, bins): how the intensities of each region are spread."""
        return histogram(pictures, masks, self.bins)

    def chance(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """A state (B,) and noise like the images, drawn evenly and normally."""
        time = torch.randint(self.process.steps, (len(clean),), device=clean.device)
        return time, torch.randn_like(clean)

    @torch.no_grad()
    def remember(self, control: Tensor) -> None:
        """Move the nearest centre of each output toward each histogram that is not empty.

        An unused centre comes first; the k-th that a centre sees moves it by 1 / k, at least 0.02.
        """
        for item, output in torch.nonzero(control.sum(-1) > 0).tolist():
            found = control[item, output]
            far = (self.centres[:, output] - found).square().sum(-1)
            place = int(torch.where(self.counts[:, output] == 0, -1.0, far).argmin())
            self.counts[place, output] += 1
            rate = max(0.02, 1 / int(self.counts[place, output]))
            self.centres[place, output].lerp_(found, rate)

    def drawn(self, size: int, generator: torch.Generator) -> Tensor:
        """A histogram (size, outputs, bins) for each item, of the centres that are in use."""
        used = (self.counts > 0).sum(0).clamp_min(1)
        shape, device = (size, self.outputs), self.centres.device
        place = (torch.rand(shape, generator=generator, device=device) * used).long()
        rows = torch.arange(self.outputs, device=device).expand(shape)
        chosen = self.centres[place, rows]
        return chosen / chosen.sum(-1, keepdim=True).clamp_min(1e-6)

    @torch.no_grad()
    def paint(self, batch: Batch, control: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, outputs, *S) in deviations whose regions are painted by `control`.

        In each state what lies around is the image with the noise of that state (RePaint); in the
        end it is the image itself, voxel by voxel.
        """
        clean, mask = self.pictures(batch), self.masks(batch)
        if not mask.any():
            return self.shown(batch)

        def noise() -> Tensor:
            return torch.randn(clean.shape, generator=generator, device=clean.device)

        image = noise()
        for state, after in pairwise(self.schedule):
            time = torch.full((len(clean),), state, device=clean.device)
            if after > state:
                image = self.process.forth(image, time + 1, noise())
                continue
            image = torch.where(mask, image, self.process.noised(clean, time, noise()))
            told = self.denoise(image, time, control)
            start = self.process.clean(image, time, told).clamp(-1, 1)
            mean, variance = self.process.back(image, start, time)
            image = mean + variance.sqrt() * noise()
        return torch.where(mask, image * self.reach, self.shown(batch))

    def _still(self, batch: Batch) -> Tensor:
        """What is known of images without noise and without a histogram."""
        time = torch.zeros(len(batch), device=batch.image.device)
        nothing = torch.zeros(len(batch), self.outputs * self.bins, device=batch.image.device)
        return self._known(time, nothing)

    def _known(self, time: Tensor, control: Tensor) -> Tensor:
        """(B, 4 width) of how much noise (0 for none) and of the histograms (B, outputs * bins)."""
        known: Tensor = self.clock(sinusoids(time, self.wave)) + self.control(control)
        return known

    def _down(self, image: Tensor, known: Tensor) -> list[Tensor]:
        features, pyramid = self.stem(image), []
        for level, block in enumerate(self.down):
            features = block(self.pool[level - 1](features) if level else features, known)
            pyramid.append(features)
        return pyramid

    def _up(self, pyramid: list[Tensor], known: Tensor) -> Tensor:
        features = pyramid[-1]
        for skip, block in reversed(list(zip(pyramid, self.up))):
            features = block(stretched(features, skip), known)
        told: Tensor = self.head(features)
        return told
