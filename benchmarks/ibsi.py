"""Radiomics against pyradiomics, and against the published values of the IBSI's CT scan.

    python benchmarks/ibsi.py --scans ../shared/data/pyradiomics
    python benchmarks/ibsi.py --phantom PHANTOM --values VALUES

The first needs pyradiomics beside this package (in an environment of its own, with `src` on its
path): of each scan in 32 bins, the largest relative difference of each family in features that both
define alike, and time, theirs over ours, the best of five.

The second holds two configurations of the manual against their published values, both in bins of
25 HU up to 400 HU: A, slice by slice from -500 HU, and C, in cubes of 2 mm from -1000 HU; PHANTOM:
`ibsi_1_ct_radiomics_phantom/nifti` of https://github.com/theibsi/data_sets, VALUES
`docs/03_Image_features.rst` of https://github.com/theibsi/ibsi-doc. Prints JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import time
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from oncoseg import Grid
from oncoseg.blocks.discretise import levels, resegmented
from oncoseg.blocks.intensity import histogram, statistics
from oncoseg.blocks.morphology import morphology
from oncoseg.blocks.radiomics import Settings, measured
from oncoseg.blocks.texture_glcm import glcm
from oncoseg.blocks.texture_glrlm import glrlm
from oncoseg.blocks.texture_neighbours import ngldm, ngtdm
from oncoseg.blocks.texture_zones import depth, gldzm, glszm, zones

# Ours, in the order of theirs. Theirs are in population moments (axes) and differ in kurtosis by 3.
THEIRS = {
    "morphology": "MeshVolume VoxelVolume SurfaceArea SurfaceVolumeRatio Sphericity "
    "Maximum3DDiameter Elongation Flatness",
    "statistics": "Mean Variance Skewness Median Minimum 10Percentile 90Percentile Maximum "
    "InterquartileRange Range MeanAbsoluteDeviation Energy RootMeanSquared",
    "glcm": "MaximumProbability JointAverage SumSquares JointEntropy DifferenceAverage "
    "DifferenceVariance DifferenceEntropy SumAverage SumEntropy JointEnergy Contrast Id Idn Idm "
    "Idmn InverseVariance Correlation Autocorrelation ClusterTendency ClusterShade "
    "ClusterProminence Imc1 Imc2",
    "glrlm": "ShortRunEmphasis LongRunEmphasis LowGrayLevelRunEmphasis HighGrayLevelRunEmphasis "
    "ShortRunLowGrayLevelEmphasis ShortRunHighGrayLevelEmphasis LongRunLowGrayLevelEmphasis "
    "LongRunHighGrayLevelEmphasis GrayLevelNonUniformity GrayLevelNonUniformityNormalized "
    "RunLengthNonUniformity RunLengthNonUniformityNormalized RunPercentage GrayLevelVariance "
    "RunVariance RunEntropy",
    "glszm": "SmallAreaEmphasis LargeAreaEmphasis LowGrayLevelZoneEmphasis "
    "HighGrayLevelZoneEmphasis SmallAreaLowGrayLevelEmphasis SmallAreaHighGrayLevelEmphasis "
    "LargeAreaLowGrayLevelEmphasis LargeAreaHighGrayLevelEmphasis GrayLevelNonUniformity "
    "GrayLevelNonUniformityNormalized SizeZoneNonUniformity SizeZoneNonUniformityNormalized "
    "ZonePercentage GrayLevelVariance ZoneVariance ZoneEntropy",
    "ngtdm": "Coarseness Contrast Busyness Complexity Strength",
    "ngldm": "SmallDependenceEmphasis LargeDependenceEmphasis LowGrayLevelEmphasis "
    "HighGrayLevelEmphasis SmallDependenceLowGrayLevelEmphasis "
    "SmallDependenceHighGrayLevelEmphasis LargeDependenceLowGrayLevelEmphasis "
    "LargeDependenceHighGrayLevelEmphasis GrayLevelNonUniformity DependenceNonUniformity "
    "DependenceNonUniformityNormalized GrayLevelVariance DependenceVariance DependenceEntropy",
}
PLACES = {"statistics": "firstorder", "morphology": "shape", "ngldm": "gldm"}
ALONE = {  # features of ours that they do not have, or define otherwise
    "morphology": ("compactness", "disproportion", "asphericity", "axis length", "density"),
    "statistics": ("kurtosis", "robust", "median absolute", "coefficient"),
    "glcm": ("sum variance", "dissimilarity"),
    "ngldm": ("normalised grey", "percentage", "energy"),
}
TEXTURES = ("glcm", "glrlm", "glszm", "gldzm", "ngtdm", "ngldm")
HEADINGS = {
    "Morphological features": "morphology",
    "Local intensity": "",
    "Intensity-based stat": "statistics",
    "Intensity histogram": "histogram",
    "Intensity-volume": "",
    "Grey level co-occurrence": "glcm",
    "Grey level run": "glrlm",
    "Grey level size": "glszm",
    "Grey level distance": "gldzm",
    "Neighbourhood grey tone": "ngtdm",
    "Neighbouring grey level": "ngldm",
}
UNUSED = re.compile("Centre of mass|Integrated|Moran|Geary|.*oriented|.*enclosing ellipsoid.*MVEE")
EDGE_MM = 2.0
HALF = 0.5 - 1e-6  # rounding must not take voxels away that are half inside


def ours(image, mask, grid):
    """Every family that is compared."""
    found = measured(image, mask, mask, grid, Settings("+".join(THEIRS)))
    return {"morphology": morphology(mask, grid), **found}


def best(call):
    """The result of a call, and the least processor time of five (s)."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        found = call()
        taken.append(time.process_time() - start)
    return found, min(taken)


def against_pyradiomics(folder):
    """Differences and ratios of time by scan."""
    radiomics = importlib.import_module("radiomics")
    extractors = importlib.import_module("radiomics.featureextractor")
    radiomics.setVerbosity(40)
    told = {}
    for path in sorted(folder.glob("*_image.nii.gz")):
        label = path.with_name(path.name.replace("image", "label"))
        extractor = extractors.RadiomicsFeatureExtractor(binCount=32)
        extractor.disableAllFeatures()
        for family, words in THEIRS.items():
            extractor.enableFeaturesByName(**{PLACES.get(family, family): words.split()})
        theirs, slow = best(lambda: extractor.execute(str(path), str(label)))  # noqa: B023
        found, quick = best(lambda: ours(*read(path, label)))  # noqa: B023
        told[path.name.removesuffix("_image.nii.gz")] = {
            "largest difference": {
                family: largest(family, found[family], theirs) for family in THEIRS
            },
            "voxels": round(found["morphology"]["voxel volume"] / theirs_voxel(theirs)),
            "time, theirs over ours": round(slow / quick, 1),
        }
    return told


def read(path, label):
    """Image, mask and grid of two files, as both sides read them in their time."""
    image = nibabel.load(path)
    mask = np.asarray(nibabel.load(label).dataobj) == 1
    grid = Grid(image.shape, image.affine)
    where = tuple(slice(side.min(), side.max() + 1) for side in np.nonzero(mask))
    return np.asarray(image.dataobj)[where].astype(float), mask[where], grid


def theirs_voxel(theirs):
    """Volume of their voxel (mm³)."""
    return float(np.prod(theirs["diagnostics_Image-original_Spacing"]))


def largest(family, found, theirs):
    """The largest relative difference in a family."""
    mine = [
        value
        for name, value in found.items()
        if not any(word in name for word in ALONE.get(family, ()))
    ]
    names = THEIRS[family].split()
    assert len(mine) == len(names), (family, list(found))
    before = f"original_{PLACES.get(family, family)}_"
    other = np.array([float(theirs[before + name]) for name in names])
    return float(np.max(np.abs(mine - other) / np.maximum(np.abs(other), 1e-9)))


def against_values(folder, text):
    """By configuration, how many features are as published, and those that are not."""
    image = np.rint(nibabel.load(folder / "image" / "phantom.nii.gz").get_fdata())
    stored = nibabel.load(folder / "mask" / "mask.nii.gz")
    mask = np.rint(stored.get_fdata())
    grid = Grid(mask.shape, stored.affine)
    fine, inside = (resampled(each, grid, EDGE_MM) for each in (image, mask))
    cubes = Grid(fine.shape, np.diag([EDGE_MM] * 3 + [1.0]))
    found = {
        "A": features(image, mask > 0, grid, -500.0, in_slices=True),
        "C": features(np.rint(fine), inside >= HALF, cubes, -1000.0, in_slices=False),
    }
    return {name: held_against(values, text, name) for name, values in found.items()}


def resampled(array, grid, edge):
    """Onto cubes, linearly, around the same middle; beyond its ends an image goes on."""
    step = edge / np.array(grid.spacing)
    shape = np.ceil(np.array(grid.shape) / step).astype(int)
    start = (np.array(grid.shape) - 1) / 2 - step * (shape - 1) / 2
    return ndimage.affine_transform(array, step, start, tuple(shape), order=1, mode="nearest")


def features(image, mask, grid, low, *, in_slices):
    """Every family, of intensities from `low` to 400 HU in bins of 25 HU."""
    kept = resegmented(image, mask, low=low, high=400)
    grey = levels(image, kept, width=25, low=low)
    slices = [[*grey.slices()], np.flatnonzero(kept.any(axis=(0, 1)))]
    pairs = [(one, mask[..., z], kept[..., z]) for one, z in zip(*slices)]
    textures = [textured(*pair) for pair in (pairs if in_slices else [(grey, mask, kept)])]
    return {
        "morphology": morphology(mask, grid),
        "statistics": statistics(image[kept]),
        "histogram": histogram(grey.values),
        **{
            name: {
                key: float(np.mean([one[name][key] for one in textures if one[name]]))
                for key in textures[0][name]
            }
            for name in TEXTURES
        },
    }


def textured(grey, mask, kept):
    """Textures of a region in a slice or in space."""
    zoned = zones(grey)
    every = (glcm(grey), glrlm(grey), glszm(zoned), gldzm(zoned, depth(mask)[kept]))
    return dict(zip(TEXTURES, (*every, ngtdm(grey), ngldm(grey))))


def held_against(found, text, name):
    """How many features are within their published tolerance, and which are not."""
    told = {"compared": 0, "within": 0, "not": {}}
    for family, values in found.items():
        names = sorted(values, key=lambda key: ("ellipsoid" in key) + 2 * ("hull" in key))
        if family == "histogram":  # the manual has the mode after the maximum
            names.insert(9, names.pop(names.index("mode")))
        published = [*configuration(text, family, name)]
        assert len(published) == len(names), (family, len(published), len(names))
        for feature, (heading, value, tolerance) in zip(names, published):
            if value is None:
                continue
            told["compared"] += 1
            if abs(values[feature] - value) <= max(tolerance, 0.005 * abs(value) * (not tolerance)):
                told["within"] += 1
            else:
                told["not"][f"{family} {feature} ({heading})"] = (values[feature], value, tolerance)
    return told


def configuration(text, family, name):
    """Heading, value and tolerance of each feature of a family, as published for A or C."""
    section = heading = before = ""
    ways = ("2D", "2D, averaged") if name == "A" else ("3D", "3D, averaged")
    for line in text.splitlines():
        if re.fullmatch(r"-{8,}", line):
            known = [of for words, of in HEADINGS.items() if before.startswith(words)]
            section = known[0] if known else section
        if re.fullmatch(r"\^{4,}", line):
            heading = before
        before = line.strip() or before
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        wanted = section == family and cells[0] == f"config. {name}" and not UNUSED.match(heading)
        if wanted and len(cells) in (4, 5) and (len(cells) == 4 or cells[1] in ways):
            yield heading, number(cells[-3]), number(cells[-2]) or 0.0


def number(cell):
    """A number as the manual's source has it, or None."""
    plain = re.sub(r":math:|`|\\ |\s|\\times", "", cell)
    found = re.fullmatch(r"(-?[\d.]+)(?:10\^\{?(-?\d+)\}?)?", plain)
    return float(f"{found[1]}e{found[2] or 0}") if found else None


def main() -> None:
    """Compare what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=Path)
    parser.add_argument("--phantom", type=Path)
    parser.add_argument("--values", type=Path)
    words = parser.parse_args()
    told = {}
    if words.scans:
        told["pyradiomics"] = against_pyradiomics(words.scans)
    if words.phantom:
        told["configurations"] = against_values(
            words.phantom, words.values.read_text(encoding="utf-8")
        )
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
