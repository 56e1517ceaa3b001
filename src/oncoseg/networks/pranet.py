"""PraNet: a coarse map of where something is, then what it leaves out, from coarse to fine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oncoseg.blocks.convs import CONV
from oncoseg.blocks.receptive_field import ReceptiveField
from oncoseg.blocks.res2net import Res2net
from oncoseg.blocks.resize import doubled, enlarged, padded, resized
from oncoseg.blocks.units import unit
from oncoseg.case import Batch, Task
from oncoseg.errors import BadOption
from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card(
    "PraNet: Parallel Reverse Attention Network for Polyp Segmentation",
    2020,
    arxiv="2006.11392",
    doi="10.1007/978-3-030-59725-2_26",
    reading="As in the public code (no licence; read, not copied), which has one output: of "
    "several the chance of any is erased. Its number of parameters counts an unused "
    "classifier. Weights start anew, where the paper's come from ImageNet; the loss is "
    "that of the method; 3-D is ours. In two minutes of a core it falls behind the U-Net "
    "on polyps and hippocampi (docs/networks) and is slow: after 200 steps it has 0.93 of "
    "four polyps by heart.",
)
STEP = 32  # voxels of the coarsest feature along each axis


class Pranet(Network):
    """Res2Net; a partial decoder of its last three stages gives a map, refined at each of them.

    Refining looks at features times 1 - sigmoid(map so far), which is where nothing was found yet,
    and adds what it finds to that map. All four maps are supervised, at full size; the finest is
    the answer. Published (Res2Net-50-v1b): `width=64,units=3x4x6x3`.
    """

    def __init__(
        self, task: Task, *, width: int = 16, units: tuple[int, ...] = (2, 2, 2, 2)
    ) -> None:
        super().__init__()
        if len(units) != 4 or width < 4 or width % 2:
            raise BadOption(
                f"Pranet takes four units and an even width of at least 4, not {units} and {width}"
            )
        dims, self.exclusive = task.dims, task.exclusive
        self.backbone = Res2net(dims, task.inputs, width, units)
        self.widths = self.backbone.widths
        seen, half = self.widths[1:], width // 2
        self.fields = nn.ModuleList(ReceptiveField(dims, inputs, half) for inputs in seen)
        self.partial = PartialDecoder(dims, half, task.outputs)
        self.refine = nn.ModuleList(
            Refine(dims, inputs, inner, task.outputs, kernel, ends)
            for inputs, (inner, kernel, ends) in zip(
                seen, ((width, 3, 3), (width, 3, 3), (4 * width, 5, 1))
            )
        )

    def encode(self, batch: Batch) -> list[Tensor]:
        """Features (B, widths[i], *S / 4, 8, 16, 32), finest first; S is padded to 32."""
        return self.backbone(padded(batch.image * batch.present, STEP))

    def decode(self, pyramid: list[Tensor], batch: Batch) -> list[Tensor]:
        """Logits (B, outputs, *S): refined three, two and one times, and the coarse map."""
        seen = pyramid[1:]
        maps = [self.partial([field(level) for field, level in zip(self.fields, seen)])]
        for level, refine in zip(reversed(seen), reversed(self.refine)):
            before = resized(maps[0], level.shape[2:])
            maps.insert(0, before + refine(level * self.reverse(before)))
        kept = maps if self.training else maps[:1]
        return [enlarged(found, batch.image, STEP) for found in kept]

    def reverse(self, logits: Tensor) -> Tensor:
        """(B, outputs, *S) -> (B, 1, *S): the chance that nothing is there.

        That is 1 - sigmoid of one region, of several the least of these, of classes the background.
        """
        if self.exclusive:
            return logits.softmax(dim=1)[:, :1]
        return 1 - torch.sigmoid(logits.amax(dim=1, keepdim=True))


class PartialDecoder(nn.Module):
    """Maps (B, width, *S / 1, 2, 4): coarse ones are multiplied into and laid beside finer."""

    def __init__(self, dims: int, width: int, outputs: int) -> None:
        super().__init__()

        def conv(wide: int) -> nn.Sequential:
            return unit(dims, wide, wide, act="", bias=False)

        self.into_middle, self.beside_middle = conv(width), conv(width)
        self.into_finest = nn.ModuleList([conv(width), conv(width)])
        self.beside_finest = conv(2 * width)
        self.middle, self.finest, self.last = conv(2 * width), conv(3 * width), conv(3 * width)
        self.head = CONV[dims](3 * width, outputs, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Finest first -> logits (B, outputs, *S)."""
        finest, middle, coarse = levels
        above = doubled(coarse, corners=True)
        product = self.into_middle(above) * middle
        joined = self.middle(torch.cat([product, self.beside_middle(above)], dim=1))
        far = self.into_finest[0](doubled(above, corners=True))
        near = self.into_finest[1](doubled(middle, corners=True))
        beside = self.beside_finest(doubled(joined, corners=True))
        found = self.finest(torch.cat([far * near * finest, beside], dim=1))
        logits: Tensor = self.head(self.last(found))
        return logits


class Refine(nn.Sequential):
    """1 x 1, two or three convolutions and a head of kernel `ends`; (B, inputs, *S) -> logits."""

    def __init__(
        self, dims: int, inputs: int, width: int, outputs: int, kernel: int, ends: int
    ) -> None:
        count = 3 if kernel == 5 else 2
        super().__init__(
            unit(dims, inputs, width, 1, act="", bias=False),
            *(unit(dims, width, width, kernel, bias=False) for _ in range(count)),
            unit(dims, width, outputs, ends, act="", bias=False),
        )
