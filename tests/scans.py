"""Small scans, and their refusal, that tests of reading share."""

import gzip

import nibabel
import numpy as np
import pytest

from oncoseg.errors import BadFile
from oncoseg.read import read_volume

AFFINE = np.array([[-1.0, 0, 0, 11], [0, -2, 0, 12], [0, 0, 3, 13], [0, 0, 0, 1]])  # LPS axes
ARRAY = np.arange(6 * 7 * 5, dtype=np.int16).reshape(6, 7, 5)


def nii(path, array=ARRAY, affine=AFFINE, change=lambda header: None):
    """A file whose header is changed behind the writer's back."""
    whole = nibabel.Nifti1Image(array, affine, dtype=array.dtype).to_bytes()
    header = nibabel.Nifti1Header(whole[:348])
    change(header)
    content = header.binaryblock + whole[348:]
    path.write_bytes(gzip.compress(content) if path.name.endswith("gz") else content)
    return path


def refused(path, words, reader=read_volume):
    """The one sentence, which starts with the file and says these words."""
    with pytest.raises(BadFile, match=words) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert ";" in message, "the remedy comes after a semicolon"


# The first axis runs along y, the second along -x, in LPS.
TURNED = np.array([[0.0, 2, 0, -1], [-1, 0, 0, -2], [0, 0, 3, 3], [0, 0, 0, 1]])
