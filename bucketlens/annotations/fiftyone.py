"""FiftyOne's ``FiftyOneImageClassificationDataset`` (https://docs.voxel51.com/user_guide/export_datasets.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bucketlens.annotations.examples import Annotation, Example
from model_build.files import json_bytes


def documents(examples: Sequence[Example], _folder: Path) -> dict[str, bytes]:
    """``labels.json``: class numbers by file name without suffix; the images lie in ``data/``."""
    classes = sorted({example.label for example in examples if example.label})
    labels = {PurePosixPath(one.name).stem: classes.index(one.label or "") for one in examples}
    return {"labels.json": json_bytes({"classes": classes, "labels": labels})}


def read(document: Mapping[str, Any]) -> Iterator[Annotation]:
    """The label of each file name; numbers count into ``classes``.

    Raises:
        LookupError, TypeError, AttributeError: it is not such a document.
    """
    classes = document.get("classes", ())
    for name, target in document["labels"].items():
        label = target["label"] if isinstance(target, dict) else target
        if label is not None:
            yield Annotation(name, name, (classes[label] if isinstance(label, int) else label,))
