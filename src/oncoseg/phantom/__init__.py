"""Synthetic patients and toy worlds, for tests, documentation, the demo and extra training."""

from __future__ import annotations

from oncoseg.phantom.disk import write
from oncoseg.phantom.patient import TASK, patient
from oncoseg.phantom.world import world

__all__ = ["TASK", "patient", "world", "write"]
