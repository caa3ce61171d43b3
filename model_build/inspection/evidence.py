"""What is measured of a data set, what is found in it, and how findings are graded and worded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from model_build.inspection.duplicates import Duplicates, Group
from model_build.inspection.facts import PhotoFacts, UnreadableFile
from model_build.inspection.summary import Summary

# Shares of the photos concerned, up to which a flaw is a note, and over which it stops.
_NOTE_SHARE, _STOP_SHARE = 0.01, 0.2


class IssueSeverity(StrEnum):
    """How much a finding matters, the worst first."""

    STOP = "stop"
    """Training would fail, or its figures would be wrong."""
    FIX = "fix"
    """Training works, but the model or its figures suffer."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True)
class Issue:
    """Something a person should know.

    Attributes:
        code: stable, such as ``leak.exact``.
        title: what was found, with its figures, in one line.
        meaning: why it matters.
        action: what to do.
        files: names of the photos in question, where that helps; possibly many.
    """

    severity: IssueSeverity
    code: str
    title: str
    meaning: str
    action: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class InspectionEvidence:
    """What findings are drawn from."""

    labels: tuple[str, ...]
    photos: tuple[PhotoFacts, ...]
    unreadable: tuple[UnreadableFile, ...]
    duplicates: Duplicates
    summary: Summary

    @property
    def files(self) -> int:
        return len(self.photos) + len(self.unreadable)

    @property
    def is_split(self) -> bool:
        return any(photo.photo.split for photo in self.photos)

    @property
    def leaks(self) -> tuple[Group, ...]:
        return tuple(group for group in (*self.duplicates.exact, *self.duplicates.near) if group.leaks)

    @property
    def conflicts(self) -> tuple[Group, ...]:
        return tuple(group for group in (*self.duplicates.exact, *self.duplicates.near) if group.conflicts)


STOP, FIX, NOTE = IssueSeverity.STOP, IssueSeverity.FIX, IssueSeverity.NOTE


def graded(count: int, total: int, *, least: IssueSeverity = NOTE) -> IssueSeverity:
    """How much a flaw of ``count`` of ``total`` photos matters, ``least`` at least."""
    share = count / total
    if share > _STOP_SHARE:
        return STOP
    return FIX if share > _NOTE_SHARE else least


def listed(names: Iterable[str], most: int = 12) -> str:
    everything = list(names)
    more = f" and {len(everything) - most} more" if len(everything) > most else ""
    return ", ".join(everything[:most]) + more


def classes_have(labels: Sequence[str]) -> str:
    return f"The class {labels[0]!r} has" if len(labels) == 1 else f"{len(labels)} classes have"


def counted(word: str, count: int) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def have(count: int) -> str:
    return "has" if count == 1 else "have"
