"""The inspection of a run's photos, kept with the run for its report."""

from __future__ import annotations

import json
from pathlib import Path

from model_build.files import write_atomic
from model_build.inspection.cache import FactsCache
from model_build.inspection.document import to_document
from model_build.inspection.inspection import inspect
from model_build.inspection.reading import Progress

NOTE_NAME = "inspection.json"


def note(run: Path, source: str, root: Path, cache: Path, progress: Progress = lambda *_: None) -> None:
    """Inspect the photos of ``root`` and write what was found into the run folder.

    Args:
        source: the data set as the person named it.
        cache: folder in which facts about photos are kept between inspections.

    Raises:
        UserError: see :func:`model_build.inspection.inspection.inspect`.
    """
    with FactsCache(cache / "inspection.sqlite3") as facts:
        document = to_document(inspect(source, root, facts, progress))
    write_atomic(run / NOTE_NAME, (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())
