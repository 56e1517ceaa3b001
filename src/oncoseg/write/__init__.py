"""Write: results become files that viewers, planning systems and hospital archives take as theirs.

NIfTI (`.nii`, `.nii.gz`) for volumes and 2-D images, PNG for pictures.
"""

from __future__ import annotations

from oncoseg.write.volume import write_volume

__all__ = ["write_volume"]
