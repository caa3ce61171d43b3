"""What is measured of a data set, and what is found in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from model_build.inspection.duplicates import Duplicates, Group
from model_build.inspection.facts import PhotoFacts, UnreadableFile
from model_build.inspection.summary import Summary


class Severity(StrEnum):
    """How much a finding matters, the worst first."""

    STOP = "stop"
    """Training would fail, or its figures would be wrong."""
    FIX = "fix"
    """Training works, but the model or its figures suffer."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True)
class Finding:
    """Something a person should know.

    Attributes:
        code: stable, such as ``leak.exact``.
        title: what was found, with its figures, in one line.
        meaning: why it matters.
        action: what to do.
        files: names of the photos in question, where that helps; possibly many.
    """

    severity: Severity
    code: str
    title: str
    meaning: str
    action: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
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
