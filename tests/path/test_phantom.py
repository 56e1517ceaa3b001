"""Synthetic patients and toy worlds: exact truth, fixed by their seed, in the look of real ones."""

import importlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from oncoseg.errors import BadOption, UnknownName
from oncoseg.phantom import TASK, anatomy, patient, world, write

SMALL = {"shape": (64, 76, 58), "spacing": (2.5, 2.5, 2.5)}


@pytest.fixture(scope="module")
def small():
    return patient(3, **SMALL)


def arrays(case):
    return [volume.array for volume in (*case.images.values(), *case.labels.values())]


def means(case, modality):
    image, label = case.images[modality].array, case.labels[case.reference].array
    normal = image[(label == 0) & (image > 0)]
    return {
        "normal": float(np.median(normal)),
        **{
            name: float(image[label == value].mean())
            for name, value in TASK.labels.items()
            if (label == value).any()
        },
    }


def test_patient_is_laid_out_as_brats(small):
    assert small.grid.shape == SMALL["shape"]
    assert small.grid.spacing == SMALL["spacing"]
    assert np.array_equal(np.sign(np.diag(small.grid.affine)), [-1, -1, 1, 1])
    assert set(small.images) == set(TASK.modalities)
    assert set(small.labels) == {small.reference}
    assert small.annotated == tuple(TASK.labels)
    brains = [volume.array > 0 for volume in small.images.values()]
    assert all(volume.array.dtype == np.int16 for volume in small.images.values())
    assert all(np.array_equal(brain, brains[0]) for brain in brains)
    assert 0.05 < brains[0].mean() < 0.6
    assert not (small.labels[small.reference].array[~brains[0]]).any()


def test_a_seed_fixes_every_voxel_and_another_changes_the_head(small):
    again, other = patient(3, **SMALL), patient(4, **SMALL)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(small), arrays(again)))
    assert all(not np.array_equal(a, b) for a, b in zip(arrays(small), arrays(other)))


def test_a_sequence_does_not_depend_on_the_others(small):
    alone = patient(3, modalities=("t2",), **SMALL)
    assert np.array_equal(alone.images["t2"].array, small.images["t2"].array)


def test_the_head_does_not_depend_on_the_grid(small):
    fine = patient(3, shape=(128, 152, 116), spacing=(1.25,) * 3, modalities=("flair",))
    halves = fine.labels["flair"].array[::2, ::2, ::2] > 0
    label = small.labels[small.reference].array > 0
    assert 2 * (halves & label).sum() / (halves.sum() + label.sum()) > 0.8


def test_a_small_field_of_view_shrinks_the_head_to_fit():
    case = patient(1, shape=(32, 32, 32), spacing=(1.0,) * 3, modalities=("t1",))
    brain = case.images["t1"].array > 0
    assert brain.any()
    rims = [np.take(brain, end, axis).any() for axis in range(3) for end in (0, -1)]
    assert sum(rims) <= 1, "only the neck may be cut"


@pytest.mark.parametrize("seed", range(5))
def test_tumours_have_the_size_and_the_labels_of_real_ones(seed):
    case = patient(seed, shape=(88, 104, 80), spacing=(2.0,) * 3, modalities=("t1ce",))
    label = case.labels["t1ce"].array
    assert set(np.unique(label)) <= {0, 1, 2, 4}
    ml = {name: mask.sum() * 8e-3 for name, mask in TASK.masks(label).items()}
    assert 10 < ml["WT"] < 170
    assert 3 < ml["TC"] < 66
    assert ml["ET"] > 0


def test_without_tumour_there_is_no_label_in_an_annotated_case():
    case = patient(3, tumour=False, modalities=("t1",), **SMALL)
    assert case.labeled
    assert not case.labels["t1"].array.any()


@pytest.mark.parametrize("contrast", ["typical", "random"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_tumour_stands_out_on_its_usual_side(seed, contrast):
    case = patient(seed, contrast=contrast, **SMALL)
    flair, t2, t1ce = (means(case, name) for name in ("flair", "t2", "t1ce"))
    assert flair["ED"] > flair["normal"]
    assert t2["ED"] > t2["normal"]
    assert t1ce["ET"] > t1ce["normal"]
    assert t1ce["ET"] > t1ce["ED"]


def test_typical_tissues_are_ordered_as_in_each_sequence():
    """Means of deep fluid, grey and white matter, taken where the tissue map says they are."""
    module = importlib.import_module("oncoseg.phantom.patient")
    axes, window = module._axes(**SMALL)
    tissue, _ = module._anatomy(3, axes, tumour=False)
    fluid = ndimage.binary_erosion(tissue == anatomy.CSF)
    assert fluid.any()
    case = patient(3, tumour=False, **SMALL)
    for name, volume in case.images.items():
        image = volume.array[::-1, ::-1][window]
        assert np.array_equal(image > 0, tissue != anatomy.OUTSIDE)
        csf, gm, wm = (
            image[where].mean() for where in (fluid, tissue == anatomy.GM, tissue == anatomy.WM)
        )
        assert (csf > max(gm, wm)) == (name == "t2")
        assert (wm > gm) == (name in {"t1", "t1ce"})


def test_bad_words_are_refused():
    with pytest.raises(BadOption, match="at least one modality"):
        patient(1, modalities=())
    with pytest.raises(BadOption, match="typical, random"):
        patient(1, contrast="wild")


@pytest.mark.parametrize("dims", [2, 3])
def test_world_can_be_told_apart_by_intensity(dims):
    task, cases = world(0, 4, dims=dims, classes=3)
    assert task.dims == dims
    assert task.exclusive
    for case in cases:
        label = case.labels[case.reference].array
        assert label.shape == task.patch
        assert set(np.unique(label)) == {0, 1, 2, 3}
        for volume in case.images.values():
            assert volume.array.dtype == np.uint8
            centres = sorted(volume.array[label == value].mean() for value in range(4))
            assert np.diff(centres).min() > 30
    again = world(0, 4, dims=dims, classes=3)[1]
    assert all(
        np.array_equal(a, b) for x, y in zip(cases, again) for a, b in zip(arrays(x), arrays(y))
    )


def test_overlapping_classes_are_nested():
    task, cases = world(1, 2, classes=3, overlapping=True)
    assert not task.exclusive
    masks = list(task.masks(cases[0].labels["a"].array).values())
    assert all((inner <= outer).all() for outer, inner in pairwise(masks))
    assert masks[2].any()


def test_what_is_missing_is_counted_exactly_and_never_in_the_first_case():
    task, cases = world(2, 8, missing=0.5, unlabeled=0.25, partial=0.25)
    assert sum(len(case.images) < len(task.modalities) for case in cases) == 4
    assert sum(not case.labeled for case in cases) == 2
    assert len(cases[0].images) == 2
    assert cases[0].annotated == tuple(task.labels)
    for case in cases:
        if not case.labeled:
            assert case.annotated == ()
            continue
        values = {task.labels[name] for name in case.annotated}
        assert set(np.unique(case.labels[case.reference].array)) == {0, *values}
    partly = world(2, 8, partial=0.25)[1]
    assert sorted(len(case.annotated) for case in partly) == [1, 1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("layout", ["brats", "folders"])
def test_a_case_on_disk_reads_back_as_it_was(layout, small, tmp_path):
    from oncoseg.read import read_volume

    where = write(small, tmp_path / "dossier é", layout=layout)
    names = {
        "brats": (f"{small.id}_t2.nii.gz", f"{small.id}_seg.nii.gz"),
        "folders": ("t2_image.nii.gz", f"{small.reference}_mask.nii.gz"),
    }[layout]
    wanted = (small.images["t2"], small.labels[small.reference])
    for name, volume in zip(names, wanted):
        read = read_volume(where / name)
        assert read.grid.same_as(volume.grid)
        assert np.array_equal(read.array, volume.array)


def test_flat_worlds_are_png_and_another_layout_is_refused(tmp_path):
    case = world(0, 1, dims=2)[1][0]
    where = write(case, tmp_path)
    assert sorted(path.suffix for path in where.iterdir()) == [".png"] * 3
    with pytest.raises(UnknownName, match="brats"):
        write(case, tmp_path, layout="bratz")


REAL = Path(__file__).parents[2].parent / "shared" / "data" / "brats2021"


@pytest.mark.skipif(not REAL.exists(), reason=f"no real scans at {REAL}")
def test_tumour_intensities_lie_in_the_spread_of_real_ones():
    """Mean of each compartment after z-scoring over the brain, real cases against phantoms."""
    import nibabel as nib

    def scores(image, label):
        brain = image > 0
        z = (image - image[brain].mean()) / image[brain].std()
        return [
            z[label == value].mean() if (label == value).any() else np.nan for value in (1, 2, 4)
        ]

    seeds = [patient(seed, **SMALL) for seed in range(10, 18)]
    for modality in TASK.modalities:
        real = []
        for folder in sorted(REAL.iterdir()):
            image, label = (
                np.asarray(nib.load(folder / f"{folder.name}_{name}.nii.gz").dataobj, dtype=float)
                for name in (modality, "seg")
            )
            real.append(scores(image, label))
        made = [
            scores(case.images[modality].array.astype(float), case.labels[case.reference].array)
            for case in seeds
        ]
        low, high = np.nanmin(real, axis=0) - 0.35, np.nanmax(real, axis=0) + 0.35
        middle = np.nanmedian(made, axis=0)
        assert ((middle > low) & (middle < high)).all(), (modality, low, middle, high)
