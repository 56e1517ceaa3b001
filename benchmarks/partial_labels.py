"""Learn organs of which each was drawn on one side of a body alone: with and without saying so.

    python benchmarks/partial_labels.py ../shared/data/totalsegmentator --to /tmp/partial

The CT is cut into its left and its right half: two cases. Gluteus maximus and autochthonous muscles
are drawn in the left half alone, hip and iliopsoas in the right half alone. Dice of each organ in
the half where it was not drawn, after equal steps: `said`, cases.tsv names what was looked for;
`unsaid`, the same label maps without it; `whole`, everything drawn in both halves. Means over
seeds. Labels are the output of a model (TotalSegmentator): this tells what is learned, no more.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from oncoseg import files
from oncoseg.evaluate import evaluate
from oncoseg.predict import predict
from oncoseg.run import Run
from oncoseg.train import train

ORGANS = {"gluteus": (80, 81), "autochthon": (86, 87), "hip": (77, 78), "iliopsoas": (88, 89)}
DRAWN = {"left": ("gluteus", "autochthon"), "right": ("hip", "iliopsoas")}
LABELS = {name: value for value, name in enumerate(ORGANS, start=1)}
TABLE = "cases.tsv"


def halves(source, to, *, partly, said):
    """Two cases as files; returns the label maps with everything in them."""
    scan = nib.load(source / "example_ct.nii.gz")
    drawn = np.asarray(nib.load(source / "example_seg_fast_force_split.nii.gz").dataobj)
    label = np.zeros(drawn.shape, np.uint8)
    for name, values in ORGANS.items():
        label[np.isin(drawn, values)] = LABELS[name]
    middle, truths = scan.shape[0] // 2, {}
    rows = ["case\tannotated"]
    for case, part in (("left", slice(0, middle)), ("right", slice(middle, None))):
        truths[case] = label[part]
        shown = label[part].copy()
        if partly:
            shown[~np.isin(shown, [LABELS[name] for name in DRAWN[case]])] = 0
        affine = scan.affine.copy()
        affine[:3, 3] += affine[:3, 0] * part.start
        folder = to / case
        folder.mkdir(parents=True, exist_ok=True)
        volume = np.asarray(scan.dataobj)[part]
        nib.save(nib.Nifti1Image(volume.astype(np.int16), affine), folder / "ct_image.nii.gz")
        nib.save(nib.Nifti1Image(shown, affine), folder / "ct_mask.nii.gz")
        rows.append(f"{case}\t{','.join(DRAWN[case])}")
    if said:
        files.write_text(to / TABLE, "\n".join(rows) + "\n")
    return truths


def undrawn(model, data, to, truths):
    """Dice of each organ in the half where nobody drew it."""
    predict(model, data, to=to)
    regions = {name: (value,) for name, value in LABELS.items()}
    found = {}
    for case, other in (("left", "right"), ("right", "left")):
        label = np.asarray(nib.load(to / f"{case}.nii.gz").dataobj)
        means = evaluate(label, truths[case], regions=regions, metrics=("dice",)).means
        found.update({name: round(means[name]["dice"], 3) for name in DRAWN[other]})
    return found


def main():
    """Print the table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    words = parser.parse_args()
    table = {}
    for way, partly in (("said", True), ("unsaid", True), ("whole", False)):
        rows = []
        for seed in range(words.seeds):
            folder = words.to / f"{way}_{seed}"
            truths = halves(words.data, folder / "data", partly=partly, said=way == "said")
            model = str(folder / "model.onco")
            run = Run(str(folder / "data"), model, network="unet:width=8", labels=LABELS, minutes=0)
            run = replace(run, steps=words.steps, voxels=40**3, rate=5e-3, average=0.97, seed=seed)
            rows.append(undrawn(train(run), folder / "data", folder / "out", truths))
        table[way] = {
            name: round(float(np.mean([row[name] for row in rows])), 3) for name in LABELS
        }
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
