"""Rules that watch a training and explain themselves: :class:`Diagnostics` listens and gives a :class:`Diagnosis`."""

from model_build.diagnostics.diagnosis import Diagnosis, Finding, Severity
from model_build.diagnostics.observer import Diagnostics

__all__ = ["Diagnosis", "Diagnostics", "Finding", "Severity"]
