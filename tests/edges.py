"""The edge cases of every metric, worked out by hand; as a module it writes them to the page."""

import math
from pathlib import Path

import numpy as np

from oncoseg import files, registry

PAGE = Path(__file__).parents[1] / "docs" / "path" / "evaluate.md"
START, END = "<!-- edge cases, made by `make docs` -->\n", "<!-- end -->"
SPACING = (1.0, 2.0, 3.0)


def mask(shape, *voxels):
    made = np.zeros(shape, bool)
    for voxel in voxels:
        made[voxel] = True
    return made


SHAPE = (4, 5, 6)  # voxels of 1 x 2 x 3 mm, 0.006 ml: the diagonal of 4 x 10 x 18 mm is 20.976
A, B, C = (1, 1, 1), (1, 1, 2), (1, 1, 4)
EMPTY, ONE = mask(SHAPE), mask(SHAPE, A)
SLAB, SLABS = mask(SHAPE, 0), mask(SHAPE, 0, 1)
PAIRS = {
    "both empty": (EMPTY, EMPTY),
    "prediction empty": (EMPTY, ONE),
    "truth empty": (ONE, EMPTY),
    # A slab of 30 voxels at the edge of the image, and one twice as thick. All voxels of both are
    # surface: of the thick slab's 60, 30 lie 0 and 30 lie 1 mm from the thin one.
    "touching border": (SLABS, SLAB),
    # Neighbours along the axis of 3 mm: 8 surface elements each, of which they share 4.
    "one voxel": (mask(SHAPE, B), ONE),
    # The same along the axis of 2 mm.
    "anisotropic": (mask(SHAPE, (1, 2, 1)), ONE),
    # Of two true voxels 9 mm apart one is found: distances 0 and 9, 95 % between them is 8.55;
    # 8 of 16 true and 8 of 8 predicted elements agree.
    "one of two": (ONE, mask(SHAPE, A, C)),
}
UNDEFINED = math.nan
DIAGONAL = math.sqrt(4**2 + 10**2 + 18**2)
CERTAIN = (0, 1 / 100, 1 / 100, 1 / 4, 1 / 60, 1 / 50, 1 / 120)
GOLDEN = {
    "dice": (1, 0, 0, 2 / 3, 0, 0, 2 / 3),
    "iou": (1, 0, 0, 1 / 2, 0, 0, 1 / 2),
    "hd95": (0, DIAGONAL, DIAGONAL, 1, 3, 2, 8.55),
    "nsd": (1, 0, 0, 1, 1 / 2, 1 / 2, 2 / 3),
    "nsd:tolerance_mm=2": (1, 0, 0, 1, 1 / 2, 1, 2 / 3),
    "nsd:mesh=false": (1, 0, 0, 1, 0, 0, 2 / 3),
    "nsd:mesh=false,tolerance_mm=2": (1, 0, 0, 1, 0, 1, 2 / 3),
    "volume_difference": (0, 0.006, 0.006, 0.18, 0, 0, 0.006),
    "relative_volume_difference": (UNDEFINED, 100, UNDEFINED, 100, 0, 0, 50),
    "sensitivity": (UNDEFINED, 0, UNDEFINED, 1, 0, 0, 1 / 2),
    "precision": (1, 0, 0, 1 / 2, 0, 0, 1),
    "lesion_f1": (1, 0, 0, 1, 0, 0, 2 / 3),
    "lesion_f1:iou=0.5": (1, 0, 0, 1, 0, 0, 2 / 3),
    "lesion_f1:iou=0.6": (1, 0, 0, 0, 0, 0, 2 / 3),
    "hd": (0, DIAGONAL, DIAGONAL, 1, 3, 2, 9),
    "hd95:pooled=true": (0, DIAGONAL, DIAGONAL, 1, 3, 2, 8.1),  # of 0, 0 and 9
    # 8 elements each, 4 of them shared and 4 as far as the neighbour is.
    "hd95:mesh=true": (0, DIAGONAL, DIAGONAL, 1, 3, 2, 9),
    # Of 90 surface voxels of both slabs 30 lie 1 mm away; of two voxels and one, one lies 9 mm.
    "assd": (0, DIAGONAL, DIAGONAL, 1 / 3, 3, 2, 3),
    "assd:pooled=false": (0, DIAGONAL, DIAGONAL, 1 / 4, 3, 2, 9 / 4),
    "specificity": (1, 1, 119 / 120, 2 / 3, 118 / 119, 118 / 119, 1),
    "mcc": (
        1,
        0,
        0,
        3600 / math.sqrt(60 * 30 * 60 * 90) / 2,
        -1 / 119,
        -1 / 119,
        118 / math.sqrt(2 * 119 * 118),
    ),
    "boundary_iou": (1, 0, 0, 1 / 2, 0, 0, 1 / 2),
    # The middle of a slab of two voxels is its second one, outside of the thin slab.
    "cl_dice": (1, 0, 0, 0, 0, 0, 2 / 3),
    "panoptic_quality": (1, 0, 0, 0, 0, 0, 2 / 3),
    "aji": (1, 0, 0, 1 / 2, 0, 0, 1 / 2),
    "lesion_sensitivity": (UNDEFINED, 0, UNDEFINED, 1, 0, 0, 1 / 2),
    "average_precision": (1, 0, 0, 0, 0, 0, 1 / 2),
    "false_positives": (0, 0, 1, 0, 1, 1, 0),
    # One voxel is 6 mm³, too small to be asked for by default; what lies near it is not invented.
    "brats_dice": (1, 1, 0, 2 / 3, 1, 1, 1),
    "brats_dice:volume_mm3=0": (1, 0, 0, 2 / 3, 0, 0, 2 / 3),
    "brats_dice:volume_mm3=0,dilation=0": (1, 0, 0, 2 / 3, 0, 0, 1 / 2),
    "brats_hd95": (0, 0, 374, 1, 0, 0, 0),
    "brats_hd95:volume_mm3=0": (0, 374, 374, 1, 3, 2, 9),
    "brats_hd95:volume_mm3=0,dilation=0": (0, 374, 374, 1, 374, 374, 187),
    # A mask taken for certain probabilities. Of voxels within 10 mm of the box around both, which
    # are all 120, or 100 around the first voxel alone, so many are certain and wrong:
    **dict.fromkeys(("ece", "mce", "brier"), CERTAIN),
    "ece:margin_mm=inf": (0, 1 / 120, 1 / 120, 1 / 4, 1 / 60, 1 / 60, 1 / 120),
    "nll": tuple(-math.log(0.002) * share for share in CERTAIN),
    # All are as sure, so what is wrong cannot be told from what is right.
    "error_auroc": (1, *[1 / 2] * 6),
}


def page(text):
    """The page with the table in its place, of each metric at its defaults."""
    head = ["metric", *PAIRS]
    rows = [
        [f"`{name}`", *(shown(value) for value in GOLDEN[name])]
        for name in registry.names("metrics")
    ]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    before, _, rest = text.partition(START)
    return before + START + "\n".join(lines) + "\n" + END + rest.partition(END)[2]


def shown(value):
    """A number of three places at most."""
    return "undefined" if math.isnan(value) else f"{value:.3g}"


if __name__ == "__main__":
    files.write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))
