"""COCO: images, categories, and an annotation that spans the whole image (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bucketlens.annotations.examples import Annotation, Example
from model_build.files import json_bytes

LABELS = "labels.json"


def path(example: Example) -> str:
    return f"data/{example.name}"


def documents(examples: Sequence[Example], folder: Path) -> dict[str, bytes]:
    """``labels.json``; the images lie in ``data/``."""
    names = sorted({example.label for example in examples if example.label})
    ids = {name: number for number, name in enumerate(names, start=1)}
    images, annotations = [], []
    for number, example in enumerate(examples, start=1):
        width, height = _size(folder / path(example))
        images.append(
            {
                "id": number,
                "file_name": example.name,
                "coco_url": example.image_uri,
                "width": width,
                "height": height,
            }
        )
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": ids[example.label or ""],
                "bbox": [0, 0, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
        )
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {LABELS: json_bytes({"images": images, "annotations": annotations, "categories": categories})}


def _size(file: Path) -> tuple[int, int]:
    from PIL import Image  # here, because every command of the command line imports this module

    with Image.open(file) as image:  # the header alone: the function's decoder has accepted the whole
        return image.size


def read(document: Mapping[str, Any]) -> Iterator[Annotation]:
    """The categories of each image; by its ``coco_url`` where that is in S3, else by its file name.

    Raises:
        LookupError, TypeError, AttributeError: it is not such a document.
    """
    names = {category["id"]: category["name"] for category in document["categories"]}
    labels = defaultdict(set)
    for one in document["annotations"]:
        labels[one["image_id"]].add(names[one["category_id"]])
    for image in document["images"]:
        if found := labels.get(image["id"]):
            url = image.get("coco_url", "")
            where = url if url.startswith("s3://") else Path(image["file_name"]).name
            yield Annotation(f"image {image['id']}", where, tuple(sorted(found)))
