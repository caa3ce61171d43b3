"""An inspection as JSON for machines; the findings carry stable codes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from model_build.inspection.duplicates import Group
from model_build.inspection.inspection import Inspection

SCHEMA_VERSION = "1"


def to_document(inspection: Inspection) -> dict[str, Any]:
    """Everything that was found, complete; ``verdict.severity`` is null where nothing was."""
    evidence = inspection.evidence
    summary = evidence.summary
    return {
        "schema_version": SCHEMA_VERSION,
        "source": inspection.source,
        "verdict": {"severity": inspection.worst, "text": inspection.verdict},
        "findings": [asdict(finding) for finding in inspection.findings],
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


def _group(group: Group) -> dict[str, Any]:
    return {
        "files": [photo.name for photo in group.photos],
        "leak": group.leaks,
        "conflict": group.conflicts,
        "correlation": round(group.correlation, 4),
    }
