"""Every fault of label maps and of data sets: how it is made, and what is expected."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from badinputs.faults import MIRRORED, moved
from badinputs.files import AFFINE, ARRAY, PICTURE, cut, nii, picture

LABELS = {"tumour": 1}
MASK = np.zeros(ARRAY.shape, np.uint8)
MASK[3:7, 3:7, 2:6] = 1
FLAT = np.zeros(PICTURE.shape, np.uint8)
FLAT[5:20, 5:20] = 255
PAIRED = {"modality": {"0": "T1w"}, "labels": {"0": "background", "1": "tumour"}}


@dataclass(frozen=True)
class Flaw:
    """One way in which a data set is bad; `make(folder)` fills the folder.

    `refused` is a part of the sentence with which finding or reading refuses it, and which check
    lists as an error. Where it is empty, `told` is a part of what check says of it, and all of it
    is read exactly.
    """

    name: str
    made: str
    make: Callable[[Path], object]
    refused: str = ""
    told: str = ""


def good(folder, case="a", label=MASK, seed=0, affine=AFFINE, **header):
    """A case of its own image, with a label map."""
    nii(folder / case, "t1.nii.gz", np.random.default_rng(seed).permutation(ARRAY))
    return nii(folder / case, "label.nii.gz", label, affine, **header)


def values(kind=np.uint8, at=1):
    mask = MASK.astype(kind)
    mask[mask > 0] = at
    return mask


def drawn(folder, name="label.png", **options):
    """A picture with a label map."""
    picture(folder / "a", "t1.png")
    return picture(folder / "a", name, **options)


def images(folder, *names, labels=()):
    for place, some in (("images", names), ("labels", labels)):
        for seed, name in enumerate(some):
            array = MASK if place == "labels" else np.random.default_rng(seed).permutation(ARRAY)
            nii(folder / place, name, array)
    return folder


def decathlon(folder, said):
    nii(folder / "imagesTr", "a.nii.gz")
    nii(folder / "labelsTr", "a.nii.gz", MASK)
    (folder / "dataset.json").write_text(said if isinstance(said, str) else json.dumps(said))


def unnamed_channel(folder):
    for channel in (0, 1):
        nii(folder / "imagesTr", f"a_000{channel}.nii.gz")
    said = {"channel_names": {"0": "T1w"}, "labels": {"tumour": 1}}
    (folder / "dataset.json").write_text(json.dumps(said))


def bids(folder, *names, derived=(), people=None):
    for seed, name in enumerate(names):
        array = np.random.default_rng(seed).permutation(ARRAY)
        nii(folder / "sub-1" / "anat", f"sub-1_{name}.nii.gz", array)
    for root in (folder, *(folder / "derivatives" / which for which, _ in derived)):
        root.mkdir(parents=True, exist_ok=True)
        (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    for which, name in derived:
        nii(folder / "derivatives" / which / "sub-1" / "anat", f"sub-1_{name}.nii.gz", MASK)
    if people is not None:
        (folder / "participants.tsv").write_bytes(people)


def copied(folder):
    good(folder, "a")
    good(folder, "b", seed=1)
    shutil.copy(folder / "a" / "t1.nii.gz", folder / "b" / "t1.nii.gz")


def one_bad(folder, break_it):
    """Two good cases, and a third of which something is broken."""
    for seed, case in enumerate("abc"):
        good(folder, case, seed=seed)
    break_it(folder / "b" / "t1.nii.gz")


def linked(path):
    path.unlink()
    path.symlink_to(path.with_name("gone"))


def inside(path):
    path.rename(path.with_name("x"))
    path.mkdir()
    path.with_name("x").rename(path / "t1.nii.gz")


def shut(path):
    path.chmod(0)


def odd_names(folder):
    for seed, case in enumerate(
        ("with space", "é ü ß 患者", "🧠", "new\nline", "-dash", "x" * 200)
    ):
        good(folder, case, seed=seed)


def specks():
    mask = MASK.copy()
    mask[0, 0, 0] = 1
    return mask


LABEL = [
    Flaw("label-shape", "a label map of another shape", lambda d: good(d, label=MASK[:-1]), "its shape is"),
    Flaw("label-shift", "a label map 1 mm away", lambda d: good(d, affine=moved(x=[-1, 0, 0, 12])), "does not lie on its image"),
    Flaw("label-mirror", "a label map that is mirrored", lambda d: good(d, affine=MIRRORED), "does not lie on its image"),
    Flaw("label-value", "a label that is not in the scheme", lambda d: good(d, label=values(at=7)), "holds label 7"),
    Flaw("label-255", "255 in place of 1 in a volume", lambda d: good(d, label=values(at=255)), "holds label 255"),
    Flaw("label-fraction", "labels with fractions", lambda d: good(d, label=values(np.float32, 0.5)), "fractions"),
    Flaw("label-negative", "a label below 0", lambda d: good(d, label=values(np.int16, -1)), "holds -1"),
    Flaw("label-rounded", "a label that float32 rounds", lambda d: good(d, label=values(np.float64, 2.0**24 + 1)), "floating-point"),
    Flaw("label-nan", "a NaN in a label map", lambda d: good(d, label=values(np.float32, np.nan)), "NaN"),
    Flaw("label-scaled", "a label map scaled to fractions", lambda d: good(d, scl_slope=0.3), "fractions"),
    Flaw("label-cut", "a label map without its end", lambda d: cut(good(d), -9), "truncated"),
    Flaw("label-jpeg", "a label map in JPEG", lambda d: drawn(d, "label.jpg", array=FLAT), "JPEG"),
    Flaw("label-tiff", "a label map in JPEG within TIFF", lambda d: drawn(d, "label.tif", array=FLAT, compression="jpeg"), "JPEG"),
    Flaw("label-colour", "a label map in colours", lambda d: drawn(d, array=np.stack([FLAT, FLAT // 2, FLAT], axis=-1)), "channels or colours"),
    Flaw("label-flat", "a picture as the label map of a volume", lambda d: picture(good(d).with_name("label.nii.gz").unlink() or d / "a", "label.png", FLAT), "its shape is"),
    Flaw("label-empty", "a label map of nothing", lambda d: good(d, label=values(at=0)), told="is an empty label map"),
    Flaw("label-speck", "a piece of one voxel", lambda d: good(d, label=specks()), told="1 of 2 pieces of fewer than 10"),
    Flaw("label-float", "whole labels in floating point", lambda d: good(d, label=values(np.float64)), told=""),
    Flaw("label-png", "0 and 255 in a picture", lambda d: drawn(d, array=FLAT), told=""),
]  # fmt: skip
SETS = [
    Flaw("nothing", "an empty folder", lambda d: d, "is an empty folder"),
    Flaw("letters", "files that are no scans", lambda d: (d / "letter.txt").write_text("x"), "none of the ways"),
    Flaw("unclear", "names that say nothing", lambda d: [nii(d / "a", f"{n}.nii.gz") for n in ("one", "two")], "its name says neither"),
    Flaw("twins", "two cases under one name", lambda d: images(d, "a.nii", "a.nii.gz"), "two cases under the name a"),
    Flaw("case", "names that differ in case alone", lambda d: images(d, "a.nii", "A.nii.gz"), "a second case is named"),
    Flaw("synonyms", "two scans of one modality", lambda d: [good(d), nii(d / "a", "t1w.nii.gz")], "both mean t1"),
    Flaw("orphan", "a label map without its image", lambda d: images(d, "a.nii.gz", labels=["b.nii.gz"]), "has no image of the same name"),
    Flaw("lone-label", "a case of a label map alone", lambda d: nii(d / "a", "label.nii.gz", MASK), "without an image"),
    Flaw("two-labels", "two label maps of one case", lambda d: [good(d), nii(d / "a", "mask.nii.gz", MASK)], "too as its t1"),
    Flaw("two-folders", "two folders of label maps", lambda d: [images(d, "a.nii.gz", labels=["a.nii.gz"]), (d / "masks").mkdir()], "has both labels and masks"),
    Flaw("json-broken", "a dataset.json that breaks off", lambda d: decathlon(d, '{"modality": {"0": "T1w"'), "not valid JSON"),
    Flaw("json-labels", "labels in words", lambda d: decathlon(d, {**PAIRED, "labels": {"tumour": "one"}}), "no whole numbers"),
    Flaw("json-gone", "a scan that is listed, but missing", lambda d: decathlon(d, {**PAIRED, "training": [{"image": "./imagesTr/z.nii.gz"}]}), "is listed in dataset.json, but missing"),
    Flaw("json-channel", "a channel without a name", unnamed_channel, "names no channel 1"),
    Flaw("json-channels", "two names for one channel", lambda d: decathlon(d, {**PAIRED, "modality": {"0": "T1w", "1": "T2w"}}), "holds 1 channels, but 2 are named"),
    Flaw("bids-runs", "two runs of one sequence", lambda d: bids(d, "run-1_T1w", "run-2_T1w"), "has sub-1_run-1_T1w.nii.gz too as its t1"),
    Flaw("bids-readers", "label maps by two readers", lambda d: bids(d, "T1w", derived=[("one", "dseg"), ("two", "dseg")]), "too as its t1"),
    Flaw("bids-people", "a table of people that is no text", lambda d: bids(d, "T1w", people=b"\xff\xfe\x00"), "cannot be read"),
    Flaw("link", "one case is a link to nothing", lambda d: one_bad(d, linked), "link to nothing"),
    Flaw("folder", "one scan is a folder", lambda d: one_bad(d, inside), "folder with the name of a scan"),
    Flaw("empty-file", "one scan has no bytes", lambda d: one_bad(d, lambda path: path.write_bytes(b"")), "cut within"),
    Flaw("shut", "one scan may not be read", lambda d: one_bad(d, shut), "cannot be read"),
    Flaw("copies", "one image under two names", copied, told="is the same t1 image as that of case a"),
    Flaw("visits", "two cases of one patient", lambda d: [good(d, f"sub-1_ses-{n}", seed=n) for n in (1, 2)], told="has 2 cases"),
    Flaw("unused", "a scan that no case has", lambda d: [good(d), nii(d / "a" / "old", "t1.nii.gz")], told="1 scans in it belong to no case"),
    Flaw("names", "spaces, accents, line ends and pictures in names", odd_names),
]  # fmt: skip
