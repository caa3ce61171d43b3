"""What the function was measured to use, in ``measured.json``.

``python -m benchmarks.measured`` writes it from the benchmark's results. Processor time is
that of the machine and commit which the file names.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Usage:
    """What one invocation uses, as a part for each image and a part that it uses once.

    Attributes:
        cpu_ms: processor time an image, of all processes, the next one included.
        worker_ms: the part of it in which a worker process decodes and classifies.
        invocation_cpu_ms: processor time an invocation.
        log_bytes: what the function logs for an image.
        invocation_log_bytes: and once.
    """

    cpu_ms: float
    worker_ms: float
    invocation_cpu_ms: float
    log_bytes: float
    invocation_log_bytes: float

    def _towards(self, other: Self, share: float) -> Self:
        mixed = {}
        for one in fields(self):
            mine, its = getattr(self, one.name), getattr(other, one.name)
            mixed[one.name] = max(0.0, mine + (its - mine) * share)
        return type(self)(**mixed)


@dataclass(frozen=True)
class MeasuredUsage:
    """The file.

    Attributes:
        commit: whose function was measured.
        start_cpu_ms: processor time from the start of the process until the model is loaded.
        usage: by output mode, pairs of pixels of an image and what it took, ascending.
    """

    commit: str
    measured_at: str
    machine: str
    model: str
    start_cpu_ms: float
    usage: Mapping[str, tuple[tuple[int, Usage], ...]]

    @classmethod
    def load(cls) -> Self:
        """The file that is shipped with this package."""
        return cls.from_document(json.loads(FILE.read_text(encoding="utf-8")))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        rows: Iterable[Mapping[str, Any]] = document["usage"]
        names = [one.name for one in fields(Usage)]
        usage: dict[str, list[tuple[int, Usage]]] = {}
        for row in rows:
            width, height = map(int, row["size"].split("x"))
            usage.setdefault(row["mode"], []).append((width * height, Usage(*(row[name] for name in names))))
        return cls(
            **{name: document[name] for name in ("commit", "measured_at", "machine", "model", "start_cpu_ms")},
            usage={mode: tuple(sorted(found, key=lambda one: one[0])) for mode, found in usage.items()},
        )

    def of(self, pixels: int, mode: str) -> Usage:
        """What images of a size take: on the straight line through the two measured sizes next to it.

        Decoding takes time by the pixel; what is beyond the measured sizes lies on the line through the last two.
        """
        rows = self.usage[mode]
        above = min(max(1, bisect_left([size for size, _ in rows], pixels)), len(rows) - 1)
        (low, smaller), (high, larger) = rows[above - 1], rows[above]
        return smaller._towards(larger, (pixels - low) / (high - low))
