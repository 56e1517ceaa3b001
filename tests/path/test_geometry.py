"""A mask comes back on the voxels it was drawn from, whatever way the axes of a scan run.

Scans are written by the reference library of each format in all 48 orders and directions of axes,
along the patient's axes and turned by any angle; read, segmented by a threshold, and the mask is
written and found at the same place by two other programs.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from grids import ORIENTATIONS, oriented
from oncoseg.case import Case, Grid, Task
from oncoseg.errors import BadFile
from oncoseg.predict import segment
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.read import read_volume
from oncoseg.write import write_volume

SHAPE = (12, 11, 9)
BLOCK = (slice(3, 7), slice(2, 8), slice(5, 8))  # off the middle along every axis
TASK = Task("t", ("a",), {"x": 1}, {"x": ("x",)}, (1.0,) * 3, (16, 16, 16), ((2, 2, 2),))
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MM = 1e-4
QUATERNION_MM = 2e-3  # as exact as the three float32 of a qform are
SCAN = np.random.default_rng(0).integers(0, 20, SHAPE).astype(np.int16)
SCAN[BLOCK] += 500


def bright(image, present):
    """A 'network' that calls whatever is bright a tumour."""
    score = 10 * (image[:, :1] - 1)
    return np.concatenate([-score, score], axis=1)


def nifti(path, grid):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(SCAN, grid.affine), path)


def nrrd(path, grid):
    import nrrd

    affine = LPS @ grid.affine
    header = {"space": "left-posterior-superior", "space origin": affine[:3, 3]}
    header |= {"space directions": affine[:3, :3].T, "kinds": ["domain"] * 3}
    nrrd.write(str(path), SCAN, header)


def meta(path, grid):
    sitk = pytest.importorskip("SimpleITK", reason="is written by SimpleITK")
    affine, image = LPS @ grid.affine, sitk.GetImageFromArray(SCAN.T)
    image.SetSpacing(grid.spacing)
    image.SetDirection((affine[:3, :3] / grid.spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def dicom(path, grid):
    """A series: rows along the first axis, slices in the order of their names, not of places."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
    path.mkdir(exist_ok=True)
    affine = LPS @ grid.affine
    along, down = (affine[:3, axis] / grid.spacing[axis] for axis in range(2))
    for number in range(SHAPE[2]):
        made = pydicom.Dataset()
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        made.file_meta.MediaStorageSOPInstanceUID = f"1.2.5.{number}"
        made.SOPClassUID, made.SOPInstanceUID = pydicom.uid.MRImageStorage, f"1.2.5.{number}"
        made.Modality, made.PatientID = "MR", "p"
        made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.2", "1.2.3"
        made.FrameOfReferenceUID, made.InstanceNumber = "1.2.4", number + 1
        place = affine[:3, :3] @ [0, 0, number] + affine[:3, 3]
        made.ImageOrientationPatient = [decimal(x) for x in (*along, *down)]
        made.ImagePositionPatient = [decimal(x) for x in place]
        made.PixelSpacing = [decimal(grid.spacing[1]), decimal(grid.spacing[0])]
        made.SliceThickness = decimal(grid.spacing[2])
        made.Columns, made.Rows = SHAPE[:2]
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation = 15, 1
        made.PixelData = np.ascontiguousarray(SCAN[..., number].T).tobytes()
        made.save_as(path / f"{number}.dcm", enforce_file_format=True)


def decimal(value):
    """A decimal string of DICOM has 16 letters at most."""
    text = f"{value:.13f}"[:16]
    return text.rstrip("0").rstrip(".") or "0"


FORMATS = {
    "nifti": (nifti, "scan.nii.gz"),
    "nrrd": (nrrd, "scan.nrrd"),
    "mha": (meta, "scan.mha"),
    "dicom": (dicom, "scan"),
}
spacings = st.tuples(*[st.floats(0.4, 6)] * 3)
origins = st.tuples(*[st.floats(-300, 300)] * 3)
turns = st.tuples(*[st.floats(10.1, 169.9)] * 3)


def corners(grid, affine=None):
    """World coordinates (8, 3) of the outermost voxels."""
    ends = np.array(np.meshgrid(*[(0, size - 1) for size in grid.shape])).reshape(3, -1)
    affine = grid.affine if affine is None else affine
    return (affine[:3, :3] @ ends + affine[:3, 3:]).T


def as_read(grid, file):
    """The grid and scan as a reader must give them: DICOM slices go up along their normal."""
    if file == "scan" and np.linalg.det((LPS @ grid.affine)[:3, :3]) < 0:
        flip = np.diag([1.0, 1, -1, 1])
        flip[2, 3] = SHAPE[2] - 1
        return Grid(SHAPE, grid.affine @ flip), SCAN[:, :, ::-1]
    return grid, SCAN


def check_one(folder, write, file, grid):
    write(folder / file, grid)
    grid, scan = as_read(grid, file)
    volume = read_volume(folder / file)
    assert np.array_equal(volume.array, scan)
    assert np.abs(corners(volume.grid) - corners(grid)).max() < MM
    order = world_order(volume.grid)
    spacing = tuple(volume.grid.spacing[axis] for axis in order)
    plan = Plan(replace(TASK, spacing=spacing), {"a": Normalisation()})
    found = segment(Case("c", "c", {"a": volume}), plan, bright)
    assert np.array_equal(found.label, scan > 250)
    assert found.grid is volume.grid
    check_written(write_volume(folder / "mask.nii.gz", found.label, found.grid), grid, scan > 250)


def world_order(grid):
    """For each RAS axis the voxel axis that `align` lays along it."""
    from oncoseg.prepare.align import orientation

    return orientation(grid)[0]


def check_written(path, grid, mask):
    """nibabel and SimpleITK find the mask's voxels where those of the scan lie."""
    import nibabel

    image = nibabel.load(path)
    assert np.array_equal(np.asarray(image.dataobj), mask)
    assert np.abs(corners(grid, image.affine) - corners(grid)).max() < MM
    assert np.abs(corners(grid, image.get_qform()) - corners(grid)).max() < QUATERNION_MM
    try:
        import SimpleITK
    except ImportError:
        return
    image = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image).T, mask)
    turn = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = LPS @ np.block([[turn, np.array(image.GetOrigin())[:, None]], [0, 0, 0, 1]])
    assert np.abs(corners(grid, affine) - corners(grid)).max() < QUATERNION_MM


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("oblique", [False, True], ids=["axial", "oblique"])
def test_masks_come_back_in_every_order_of_axes(kind, oblique, tmp_path_factory):
    write, file = FORMATS[kind]
    folder = tmp_path_factory.mktemp("geometry")

    # A failure is told at once: to shrink it would write thousands of files.
    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
    )
    @given(spacings, origins, turns)
    def in_all(spacing, origin, angles):
        turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        for order, signs in ORIENTATIONS:
            grid = oriented(SHAPE, spacing, order, signs, origin)
            if oblique:
                affine = grid.affine.copy()
                affine[:3, :3] = turn @ affine[:3, :3]
                grid = Grid(SHAPE, affine)
            check_one(folder, write, file, grid)

    in_all()


def test_no_cut_of_a_slice_makes_a_series_shorter(tmp_path):
    dicom(tmp_path / "scan", Grid(SHAPE, np.diag([2.0, 3.0, 4.0, 1.0])))
    for name in ("0.dcm", f"{SHAPE[2] - 1}.dcm"):
        path = tmp_path / "scan" / name
        whole = path.read_bytes()
        for length in range(130, len(whole), 7):
            path.write_bytes(whole[:length])
            with pytest.raises(BadFile):
                read_volume(tmp_path / "scan")
        path.write_bytes(whole)
