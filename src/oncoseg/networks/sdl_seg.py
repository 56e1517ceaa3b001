"""SDL-Seg: a network that is shown, beside the scan, how near the next marker is."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from oncoseg import registry
from oncoseg.blocks.modalities import absolute
from oncoseg.blocks.saliency import nearness, small_parts
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "Saliency-Guided Deep Learning Network for Automatic Tumor Bed Volume Delineation in "
    "Post-operative Breast Irradiation",
    2021,
    arxiv="2105.02771",
    reading="Our reading: no code is public. Map and further channel are the paper's; how markers "
    "are found is ours (bright, and not wide in all directions), as are sigma and the "
    "network inside. Markers that a person points at are no part of it. 2-D is ours. In "
    "two minutes of a core it falls behind the U-Net on polyps (docs/networks), since its "
    "steps are fewer: after as many, the U-Net has about as much.",
)


class SdlSeg(Network):
    """Any `network` with exp(-d^2 / (2 `sigma`^2)) as one modality more, d in mm to a marker.

    Markers are voxels of `modality` ("": the first) above `threshold` in normalised intensity that
    belong to nothing wider than `largest` mm along every axis. Where the modality is absent, so is
    the map. A modality whose unit is absolute, as `ct`, is refused: preparing clips it. Without
    `saliency` it is the network inside alone.
    """

    def __init__(
        self,
        task: Task,
        *,
        network: str = "unet:width=16",
        saliency: bool = True,
        modality: str = "",
        threshold: float = 4.0,
        largest: float = 6.0,
        sigma: float = 10.0,
    ) -> None:
        super().__init__()
        name = modality or task.modalities[0]
        if name not in task.modalities:
            raise BadOption(f"SdlSeg has modality of {', '.join(task.modalities)}, not '{name}'")
        if min(largest, sigma) <= 0:
            raise BadOption(f"SdlSeg takes largest and sigma above 0, not {largest} and {sigma}")
        if saliency and absolute(name):
            raise BadOption(
                f"SdlSeg sees no markers in '{name}': its intensities are clipped where those of "
                "what is segmented end; name the modality otherwise, as scan, in --modalities"
            )
        self.saliency, self.place = saliency, task.modalities.index(name)
        self.threshold, self.largest, self.sigma = threshold, largest, sigma
        self.spacing = task.spacing
        seen = (*task.modalities, "saliency") if saliency else task.modalities
        self.network: Network = registry.build("networks", network, replace(task, modalities=seen))
        self.widths, self.alone = self.network.widths, self.network.alone

    def encode(self, batch: Batch) -> list[Tensor]:
        """The pyramid of the network inside."""
        return self.network.encode(self._shown(batch))

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits of the network inside, finest first."""
        return self.network.decode(pyramid, self._shown(batch))

    def markers(self, batch: Batch) -> Tensor:
        """Which voxels belong to markers: (B, 1, *S), 0 or 1."""
        image, present = (
            each.narrow(1, self.place, 1) for each in (batch.image * batch.present, batch.present)
        )
        bright = ((image > self.threshold) & present).to(image.dtype)
        return small_parts(bright, self.spacing, self.largest)

    def _shown(self, batch: Batch) -> Batch:
        if not self.saliency:
            return batch
        with torch.no_grad():
            found = nearness(self.markers(batch), self.spacing, self.sigma)
        there = batch.present.narrow(1, self.place, 1)
        image = torch.cat([batch.image, found * there], dim=1)
        return batch.but(image=image, present=torch.cat([batch.present, there], dim=1))
