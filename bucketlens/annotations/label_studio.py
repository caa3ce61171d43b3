"""Label Studio: tasks with the model's predictions and people's annotations (https://labelstud.io/guide/task_format)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bucketlens.annotations.examples import Annotation, Example
from model_build.files import json_bytes

_CONTROL, _IMAGE = "label", "image"


def documents(examples: Sequence[Example], _folder: Path) -> dict[str, bytes]:
    """``tasks.json`` to import, and ``labeling-config.xml`` for the project's settings."""
    labels = {label for example in examples for label, _ in example.top} | {one.label for one in examples if one.label}
    return {"tasks.json": json_bytes([_task(example) for example in examples]), "labeling-config.xml": _config(labels)}


def _task(example: Example) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {_IMAGE: example.image_uri, "etag": example.etag}}
    if example.top:
        label, score = example.top[0]
        task["predictions"] = [{"model_version": example.model_version, "score": score, "result": _result(label)}]
    if example.label is not None:
        task["annotations"] = [{"result": _result(example.label), "was_cancelled": False}]
    return task


def _result(label: str) -> list[dict[str, Any]]:
    return [{"from_name": _CONTROL, "to_name": _IMAGE, "type": "choices", "value": {"choices": [label]}}]


def _config(labels: set[str]) -> bytes:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=_IMAGE, value=f"${_IMAGE}")
    choices = ElementTree.SubElement(view, "Choices", name=_CONTROL, toName=_IMAGE, choice="single", required="true")
    for label in sorted(labels):
        ElementTree.SubElement(choices, "Choice", value=label)
    ElementTree.indent(view)
    return f"{ElementTree.tostring(view, encoding='unicode')}\n".encode()


def read(tasks: Sequence[Any]) -> Iterator[Annotation]:
    """The annotations of an export ("JSON"): the last one of each task that was not skipped.

    Raises:
        LookupError, TypeError, AttributeError: it is not such an export.
    """
    for number, task in enumerate(tasks, start=1):
        made = [one for one in task.get("annotations", []) if not one.get("was_cancelled")]
        if not made:
            continue
        last = max(made, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
        chosen = (part["value"]["choices"] for part in last["result"] if part["type"] == "choices")
        choices = list(itertools.chain.from_iterable(chosen))
        if choices:
            who = last.get("completed_by")
            yield Annotation(
                f"task {task.get('id', number)}",
                task["data"][_IMAGE],
                tuple(choices),
                task["data"].get("etag"),
                reviewer=who.get("email") if isinstance(who, dict) else None,
            )
