"""The canonical names of modalities, which `read` matches by."""

from oncoseg.blocks.modalities import canonical, known

__all__ = ["canonical", "known"]
