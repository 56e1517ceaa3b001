"""Nuclei: what quality of instances says of mistakes that are made on purpose.

    python benchmarks/nuclei.py ../shared/data/dsb2018_nuclei

Every instance map is compared with itself perturbed, as a folder of predictions would be: each
nucleus without the pixels at its edge, a tenth of the nuclei dropped, as many invented (copies
where nothing is), touching nuclei merged, and each nucleus cut in two. Prints means over images
with 95 % intervals as JSON, and writes results/nuclei.json.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from oncoseg import files
from oncoseg.evaluate import evaluate
from oncoseg.read import read_label
from oncoseg.write import write_volume

HERE = Path(__file__).parent
METRICS = ("panoptic_quality", "aji", "average_precision", "average_precision:iou=0.5", "dice")
SHARE = 0.1


def same(label, generator):
    """Nothing changed."""
    return label


def eroded(label, generator):
    """Each nucleus without the pixels that touch anything else."""
    edge = ndimage.grey_erosion(label, (3, 3)) != ndimage.grey_dilation(label, (3, 3))
    return np.where(edge, 0, label)


def dropped(label, generator):
    """A tenth of the nuclei missed."""
    return np.where(np.isin(label, some(label, generator)), 0, label)


def invented(label, generator):
    """A tenth of the nuclei again, where nothing is."""
    found = label.copy()
    for value in some(label, generator):
        box = ndimage.find_objects((label == value).astype(np.uint8))[0]
        shape = label[box] == value
        for _ in range(100):
            room = [size - part + 1 for size, part in zip(label.shape, shape.shape)]
            start = generator.integers(0, room)
            there = tuple(slice(at, at + part) for at, part in zip(start, shape.shape))
            if not found[there][shape].any():
                found[there][shape] = found.max() + 1
                break
    return found


def merged(label, generator):
    """Nuclei that touch are one: connected components of the foreground."""
    return ndimage.label(label > 0, np.ones((3, 3)))[0]


def cut(label, generator):
    """Each nucleus in two, across its longer axis."""
    found = label * 2
    for value, box in enumerate(ndimage.find_objects(label), start=1):
        if box is None:
            continue
        axis = int(np.argmax([edge.stop - edge.start for edge in box]))
        middle = (box[axis].start + box[axis].stop) // 2
        half = list(box)
        half[axis] = slice(middle, box[axis].stop)
        found[tuple(half)][label[tuple(half)] == value] += 1
    return found


def some(label, generator):
    """A tenth of the nuclei, one at least."""
    values = np.unique(label)[1:]
    return generator.choice(values, max(1, round(SHARE * len(values))), replace=False)


CHANGES = (same, eroded, dropped, invented, merged, cut)


def changed(change, truths, folder):
    """Write every map with one change, under the name of its case."""
    for number, path in enumerate(truths):
        volume = read_label(path)
        label = change(volume.array.astype(np.int32), np.random.default_rng(number))
        write_volume(folder / f"{path.stem}.nii.gz", label.astype(np.uint16), volume.grid)


def main():
    """Compare every change with the truth."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("data", type=Path, help="folder with instances/*.png in it, or below")
    truths = sorted(words.parse_args().data.glob("**/instances/*.png"))
    nuclei = sum(len(np.unique(read_label(path).array)) - 1 for path in truths)
    result = {"images": len(truths), "nuclei": nuclei, "means": {}}
    with tempfile.TemporaryDirectory() as place:
        truth, out = Path(place) / "truth", Path(place) / "out"
        changed(same, truths, truth)
        began = time.perf_counter()
        for change in CHANGES:
            changed(change, truths, out)
            found = evaluate(out, truth, metrics=METRICS, instances=True)
            result["means"][change.__name__] = {
                one.metric: [round(value, 4) for value in (one.mean, one.low, one.high)]
                for one in found.summary
            }
            shutil.rmtree(out)
        result["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(result, indent=2))
    files.write_json(HERE / "results" / "nuclei.json", result)


if __name__ == "__main__":
    main()
