"""The whole inspection of a data set, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from classifier.errors import UserError
from model_build.data.dataset import scan
from model_build.inspection.cache import FactsCache
from model_build.inspection.duplicates import find_duplicates
from model_build.inspection.finding import Evidence, Finding, Severity
from model_build.inspection.findings import find
from model_build.inspection.reading import Progress, read_photos
from model_build.inspection.summary import summarise


@dataclass(frozen=True)
class Inspection:
    """Attributes:
    source: the data set as the person named it.
    evidence: everything measured.
    findings: the worst first.
    cached: files that an earlier inspection had read.
    """

    source: str
    evidence: Evidence
    findings: tuple[Finding, ...]
    cached: int

    @property
    def worst(self) -> Severity | None:
        return self.findings[0].severity if self.findings else None

    @property
    def verdict(self) -> str:
        """One sentence: is it fit to train on?"""
        if self.worst is Severity.STOP:
            return "Not fit to train on yet."
        if self.worst is Severity.FIX:
            return "Fit to train on, better after some repairs."
        return "Fit to train on."


def inspect(source: str, root: Path, cache: FactsCache, progress: Progress = lambda *_: None) -> Inspection:
    """Inspect the photos of the folder ``root``, which the person knows as ``source``.

    Raises:
        UserError: no such folder, one that may not be read, no class folders or files in it, or not one readable photo.
    """
    try:
        folder = scan(root)
    except UserError as error:
        raise UserError(str(error).replace(str(root), source)) from None
    except OSError as error:
        raise UserError(f"{error.filename or source} cannot be read: {error.strerror}") from None
    reading = read_photos(folder, cache, progress)
    if not reading.photos:
        first = reading.unreadable[0]
        raise UserError(
            f"none of the {len(reading.unreadable)} files of {source} is a readable photo;"
            f" {first.photo.name}: {first.refused.message}"
        )
    summary = summarise(folder.labels, reading.photos)
    duplicates = find_duplicates(reading.photos)
    evidence = Evidence(folder.labels, reading.photos, reading.unreadable, duplicates, summary)
    return Inspection(source, evidence, find(evidence), reading.cached)
