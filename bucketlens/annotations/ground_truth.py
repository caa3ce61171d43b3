"""SageMaker Ground Truth manifests, as Rekognition Custom Labels reads and writes them too: JSON Lines.

https://docs.aws.amazon.com/rekognition/latest/customlabels-dg/md-create-manifest-file-classification.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bucketlens.annotations.examples import Annotation, Example

_ATTRIBUTE = "bucketlens"
_METADATA = "-metadata"
_TYPE = "groundtruth/image-classification"


def documents(examples: Sequence[Example], _folder: Path) -> dict[str, bytes]:
    """``output.manifest``; the images stay in S3."""
    labels = sorted({example.label for example in examples if example.label})
    lines = [json.dumps(_line(example, labels), ensure_ascii=False) + "\n" for example in examples]
    return {"output.manifest": "".join(lines).encode()}


def _line(example: Example, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "source-ref": example.image_uri,
        _ATTRIBUTE: labels.index(example.label or ""),
        f"{_ATTRIBUTE}{_METADATA}": {
            "class-name": example.label,
            "confidence": 1,
            "type": _TYPE,
            "job-name": f"labeling-job/{_ATTRIBUTE}",
            "human-annotated": "yes",
            "creation-date": (example.decided_at or "").removesuffix("Z"),
        },
    }


def read(lines: Sequence[Mapping[str, Any]]) -> Iterator[Annotation]:
    """The classes that people have given each image, whatever the attributes' names; not those a machine has.

    Raises:
        LookupError, TypeError, AttributeError: it is not such a manifest.
    """
    for number, line in enumerate(lines, start=1):
        found = [value for name, value in line.items() if name.endswith(_METADATA) and value.get("type") == _TYPE]
        labels = {one["class-name"] for one in found if one.get("human-annotated") == "yes"}
        if labels:
            yield Annotation(f"line {number}", line["source-ref"], tuple(sorted(labels)))
