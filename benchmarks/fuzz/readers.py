"""What is judged: ours, and the readers in wide use beside it; each gives voxels and an affine."""

import numpy as np


def oncoseg_volume(path):
    """Ours, for a file, or for the series that a DICOM file is of."""
    from oncoseg.read import read_channels, read_volume

    volumes = [read_volume(path.parent)] if path.suffix == ".dcm" else read_channels(path)
    return np.stack([volume.array for volume in volumes]), volumes[0].grid.affine


def oncoseg_model(path):
    """Ours: a model file, opened and checked, and of it what was mutated, as prediction does."""
    from oncoseg.model import open_model

    model = open_model(path)
    _ = model.plan, model.card, model.maps, model.posthoc, model.described
    if path.name.startswith("graph"):
        import openvino

        from oncoseg.predict.engines import _graph

        _graph(openvino.Core(), model, "")
    if path.name.startswith(("weights", "network")):
        model.network()
    said = repr(sorted(model.members.items())).encode()
    return np.frombuffer(said, np.uint8), np.eye(4)


def nibabel_volume(path):
    """nibabel: voxels as floats, affine in RAS."""
    import nibabel

    image = nibabel.load(path)
    return np.asanyarray(image.dataobj), image.affine


def simpleitk_volume(path):
    """SimpleITK: a file, or the series of a folder."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if path.suffix == ".dcm":
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path.parent)))
        image = reader.Execute()
    else:
        image = SimpleITK.ReadImage(str(path))
    dims = image.GetDimension()
    turn = np.array(image.GetDirection()).reshape(dims, dims) * image.GetSpacing()
    return SimpleITK.GetArrayFromImage(image), np.column_stack([turn, image.GetOrigin()])


def pydicom_slice(path):
    """pydicom: the mutated slice alone, with what places and scales it."""
    import pydicom

    head = pydicom.dcmread(path)
    words = [*head.ImageOrientationPatient, *head.ImagePositionPatient, *head.PixelSpacing]
    words += [head.RescaleSlope, head.RescaleIntercept]
    return head.pixel_array, np.array([float(word) for word in words])


def pynrrd_volume(path):
    """The reader of NRRD in Python."""
    import nrrd

    voxels, header = nrrd.read(str(path))
    return voxels, np.column_stack([header["space directions"].T, header["space origin"]])


def pillow_picture(path):
    """The reader of pictures in Python."""
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image), np.eye(3)


OURS = "oncoseg"
VOLUMES = ("nii", "nii.gz", "nrrd", "mha", "png", "jpg", "tif", "dicom")
READERS = {
    "oncoseg": dict.fromkeys(VOLUMES, oncoseg_volume) | {"onco": oncoseg_model},
    "nibabel": dict.fromkeys(("nii", "nii.gz"), nibabel_volume),
    "SimpleITK": dict.fromkeys(VOLUMES, simpleitk_volume),
    "pydicom": {"dicom": pydicom_slice},
    "pynrrd": {"nrrd": pynrrd_volume},
    "Pillow": dict.fromkeys(("png", "jpg", "tif"), pillow_picture),
}
MODULES = {
    "oncoseg": ("oncoseg.read",),
    "nibabel": ("nibabel",),
    "SimpleITK": ("SimpleITK",),
    "pydicom": (),
    "pynrrd": ("nrrd",),
    "Pillow": ("PIL.Image",),
}
ALSO = {
    "dicom": ("pydicom", "pydicom.pixels"),
    "onco": ("openvino", "oncoseg.predict.engines", "oncoseg.networks.unet", "safetensors.torch"),
}


def modules(reader, kind):
    """What is imported before the first process is forked."""
    return MODULES[reader] + (ALSO.get(kind, ()) if reader in (OURS, "pydicom") else ())
