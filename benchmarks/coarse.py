"""What is left of the truth itself at a half, a quarter and an eighth of its resolution?

    python benchmarks/coarse.py DATA

Each label is averaged over blocks of voxels and enlarged linearly, and a voxel gets the label that
has most of it: what a network can say whose finest map is that coarse, unless it says more than
how much of a block is inside. Prints mean Dice with the truth over labels and cases, as JSON.
"""

import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F

from oncoseg.read import find, read_case

STRIDES = (2, 4, 8)
POOLS = {2: F.avg_pool2d, 3: F.avg_pool3d}
LINEAR = {2: "bilinear", 3: "trilinear"}


def left(truth, stride):
    """Dice of each label (*S) after averaging over blocks, and back."""
    dims, values = truth.ndim, np.unique(truth)
    masks = torch.from_numpy(np.stack([truth == value for value in values])[None]).float()
    short = [part for size in reversed(truth.shape) for part in (0, -size % stride)]
    small = POOLS[dims](F.pad(masks, short), stride)
    large = F.interpolate(small, scale_factor=stride, mode=LINEAR[dims])
    said = values[large[0].argmax(0)[tuple(map(slice, truth.shape))].numpy()]
    pairs = [(said == value, truth == value) for value in values[values > 0]]
    return [2 * np.sum(one & other) / (one.sum() + other.sum()) for one, other in pairs]


def main():
    """Every case with labels."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data")
    found = {stride: [] for stride in STRIDES}
    for source in find(parser.parse_args().data).sources:
        case = read_case(source)
        if case.labeled:
            for stride in STRIDES:
                found[stride] += left(np.asarray(case.drawn.array), stride)
    print(json.dumps({stride: round(float(np.mean(dice)), 3) for stride, dice in found.items()}))


if __name__ == "__main__":
    main()
