"""How rules speak and grade."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from model_build.inspection.finding import Severity

STOP, FIX, NOTE = Severity.STOP, Severity.FIX, Severity.NOTE

# Shares of the photos concerned, up to which a flaw is a note, and over which it stops.
_NOTE_SHARE, _STOP_SHARE = 0.01, 0.2


def graded(count: int, total: int, *, least: Severity = NOTE) -> Severity:
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


def photos_of(count: int) -> str:
    return f"{count:,} photo{'' if count == 1 else 's'}"


def pictures_of(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"


def files_of(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def have(count: int) -> str:
    return "has" if count == 1 else "have"
