"""The whole inspection of a data set as one value, as JSON, and as a note in a run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from classifier.errors import UserError
from model_build.data.dataset import scan
from model_build.data.tensors import Progress
from model_build.files import json_bytes, write_atomic
from model_build.inspection.duplicates import Group, find_duplicates
from model_build.inspection.evidence import InspectionEvidence, Issue, IssueSeverity
from model_build.inspection.facts import FactsCache
from model_build.inspection.reading import read_photos
from model_build.inspection.rules import find
from model_build.inspection.summary import summarise

SCHEMA_VERSION = "1"
NOTE_NAME = "inspection.json"


@dataclass(frozen=True)
class Inspection:
    """Attributes:
    source: the data set as the person named it.
    evidence: everything measured.
    findings: the worst first.
    cached: files that an earlier inspection had read.
    """

    source: str
    evidence: InspectionEvidence
    findings: tuple[Issue, ...]
    cached: int

    @property
    def worst(self) -> IssueSeverity | None:
        return self.findings[0].severity if self.findings else None

    @property
    def verdict(self) -> str:
        """One sentence: is it fit to train on?"""
        if self.worst is IssueSeverity.STOP:
            return "Not ready for training."
        if self.worst is IssueSeverity.FIX:
            return "Ready for training, but some problems should be fixed."
        return "Ready for training."

    def to_document(self) -> dict[str, Any]:
        """Everything that was found, complete; ``verdict.severity`` is null where nothing was."""
        evidence = self.evidence
        summary = evidence.summary
        return {
            "schema_version": SCHEMA_VERSION,
            "source": self.source,
            "verdict": {"severity": self.worst, "text": self.verdict},
            "findings": [asdict(finding) for finding in self.findings],
            "files": evidence.files,
            "photos": len(evidence.photos),
            "unreadable": [
                {
                    "file": one.photo.name,
                    "label": one.photo.label,
                    "split": one.photo.split,
                    "size_bytes": one.size_bytes,
                    "code": one.refused.code,
                    "message": one.refused.message,
                }
                for one in evidence.unreadable
            ],
            "classes": summary.counts,
            "splits": {split: summary.total(split) for split in summary.splits},
            "balance": asdict(summary.balance),
            "formats": summary.formats,
            "modes": summary.modes,
            "size_bytes": summary.size_bytes,
            "short_side": asdict(summary.short_side),
            "long_side": asdict(summary.long_side),
            "aspect": asdict(summary.aspect),
            "file_bytes": asdict(summary.file_bytes),
            "input_size": asdict(summary.input_size),
            "duplicates": {
                "exact": [_group(group) for group in evidence.duplicates.exact],
                "near": [_group(group) for group in evidence.duplicates.near],
            },
            "blank": [photo.name for photo in evidence.duplicates.blank],
        }


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
    evidence = InspectionEvidence(folder.labels, reading.photos, reading.unreadable, duplicates, summary)
    return Inspection(source, evidence, find(evidence), reading.cached)


def _group(group: Group) -> dict[str, Any]:
    return {
        "files": [photo.name for photo in group.photos],
        "leak": group.leaks,
        "conflict": group.conflicts,
        "correlation": round(group.correlation, 4),
    }


def note(run: Path, source: str, root: Path, cache: Path, progress: Progress = lambda *_: None) -> None:
    """Inspect the photos of ``root`` and write what was found into the run folder.

    Args:
        source: the data set as the person named it.
        cache: folder in which facts about photos are kept between inspections.

    Raises:
        UserError: see :func:`model_build.inspection.inspection.inspect`.
    """
    with FactsCache(cache / "inspection.sqlite3") as facts:
        document = inspect(source, root, facts, progress).to_document()
    write_atomic(run / NOTE_NAME, json_bytes(document))
