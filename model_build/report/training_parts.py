"""The report's parts on where the model comes from: photos, training, diagnostics, tuning; each if there is any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_build.data.dataset import SPLITS
from model_build.diagnostics.diagnosis_html import diagnosis_html
from model_build.html import charts, quality_charts
from model_build.html.elements import Html, badge, element, facts, figure, table
from model_build.inspection.inspection import NOTE_NAME
from model_build.training.checkpoints import CHOICE_NAME
from model_build.training.run import HISTORY_NAME, SPLIT_NAME, TUNING_NAME, Run

_MOST_CLASSES = 60
_UNREADABLE = 10
_ACCURACY_CAPTION = "Accuracy by epoch. Training accuracy is measured during the epoch, with augmentation."
_SEVERITY = {"stop": "stop", "fix": "fix", "note": "note"}


def run_warnings(run: Run) -> list[str]:
    """What the run's own records say against relying on it."""
    lines = []
    diagnosis = run.record.diagnostics
    fired = [rule["finding"] for rule in diagnosis.get("rules", []) if rule.get("finding")]
    lines += [
        f"Diagnostics, {finding['rule']}: {finding['meaning']}"
        for finding in fired
        if finding.get("severity") in ("error", "warning")
    ]
    inspection = _read(run.folder / NOTE_NAME) or {}
    lines += [
        f"Data: {finding['title']}" for finding in inspection.get("findings", []) if finding.get("severity") == "stop"
    ]
    return lines


def data_parts(run: Run) -> list[Html]:
    record = run.record
    counts = ", ".join(f"{count:,} {name}" for name, count in record.images.items())
    parts = [
        element("h2", "Data"),
        element(
            "p",
            f"{sum(record.images.values()):,} photos in {len(record.labels)} classes: {counts}. The test photos were "
            "not used for training or for any choice; epoch, format, temperature and review threshold were chosen on "
            "the validation photos.",
        ),
    ]
    document = _read(run.folder / SPLIT_NAME)
    if document is not None and len(record.labels) <= _MOST_CLASSES:
        by_class: dict[str, list[float]] = {label: [0.0] * len(SPLITS) for label in record.labels}
        for position, name in enumerate(SPLITS):
            for photo in document.get(name, []):
                by_class[photo["label"]][position] += 1
        bars = charts.stacked_bars(list(by_class.items()), SPLITS, "Photos of each class, by split")
        parts.append(figure(bars, "Photos of each class, by split"))
    if record.unreadable:
        rows = [(one["name"], one["code"], one["reason"]) for one in record.unreadable[:_UNREADABLE]]
        more = len(record.unreadable) - len(rows)
        told = f"Skipped, because the function would reject them: {len(record.unreadable)} files"
        parts += [element("p", told + (f", of which {more} are not shown:" if more else ":"))]
        parts.append(table(("file", "code", "why"), rows, words=(0, 1, 2)))
    return [*parts, *_inspection(run)]


def training_parts(run: Run) -> list[Html]:
    parts = [element("h2", "Training"), _configuration(run), *_choice(run), *_curves(run)]
    diagnosis = run.record.diagnostics
    if diagnosis:
        parts += [element("h2", "Diagnostics"), diagnosis_html(diagnosis)]
    tuning = _read(run.folder / TUNING_NAME)
    if tuning is not None:
        parts += [element("h2", "Tuning"), *_tuning(tuning)]
    return parts


def _configuration(run: Run) -> Html:
    document = run.config.to_document()
    names = (
        "backbone",
        "alpha",
        "image_size",
        "epochs",
        "batch_size",
        "optimizer",
        "learning_rate",
        "weight_decay",
        "seed",
    )
    told = ", ".join(
        f"{name.replace('_', ' ')} {document[name]}" for name in names if document.get(name) not in (None, "")
    )
    return element("p", f"{told}. All settings are at the end of this page.")


def _choice(run: Run) -> list[Html]:
    """The networks that ``--backbone auto`` compared, where it chose this one."""
    document = _read(run.folder / CHOICE_NAME)
    if document is None:
        return []
    rows = [
        (
            one["backbone"],
            _share(one["probe_accuracy"]),
            (one["config"] or {}).get("epochs", "-"),
            "-" if one["minutes"] is None else f"{one['minutes']:.0f}",
            _share(one["validation_accuracy"]),
            one["note"],
        )
        for one in document["candidates"]
    ]
    told = (
        "The networks that were compared. Probe: the share of training and validation photos that a linear layer on the"
        f" frozen features classifies correctly, each by a layer fitted on the others. {document['minutes']:g} minutes"
        " were given; those in the table are the estimate. The validation accuracy decides between fine-tuned networks."
    )
    names = ("network", "probe", "epochs", "minutes", "validation accuracy", "")
    return [element("h3", "Choice of the network"), element("p", told), table(names, rows, words=(0, 5))]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _curves(run: Run) -> list[Html]:
    history = _read(run.folder / HISTORY_NAME)
    if not isinstance(history, list) or len(history) < 2:
        return []
    best = max((place for place, one in enumerate(history, start=1) if one.get("best")), default=None)
    parts = []
    for names, label, caption in (
        (("loss", "validation_loss"), "Loss by epoch", "Loss by epoch. The dashed line is the epoch that was kept."),
        (("training_accuracy", "validation_accuracy"), "Accuracy by epoch", _ACCURACY_CAPTION),
    ):
        series = [
            (name.replace("_", " "), [float(one[name]) for one in history])
            for name in names
            # A run of an older release has no training accuracy.
            if all(isinstance(one.get(name), int | float) for one in history) and any(one[name] for one in history)
        ]
        if series:
            parts.append(figure(quality_charts.curves(series, label, best=best), caption))
    return parts


def _inspection(run: Run) -> list[Html]:
    """The findings of ``model inspect``, where its JSON lies in the run."""
    document = _read(run.folder / NOTE_NAME)
    if document is None:
        return []
    verdict = document.get("verdict", {})
    rows = [
        (badge(one.get("severity", "note"), _SEVERITY.get(one.get("severity"), "note")), one["title"], one["action"])
        for one in document.get("findings", [])
    ]
    told = [element("p", verdict["text"])] if verdict.get("text") else []
    found = [table(("", "finding", "what to do"), rows, words=(0, 1, 2))] if rows else []
    return [element("h3", "Inspection"), *told, *found]


def _tuning(document: dict[str, Any]) -> list[Html]:
    rows = document.get("rows") or document.get("trials") or []
    best = document.get("best") or {}
    told = f"Study {document.get('study', '')}: {len(rows)} trials"
    if best:
        told += f", best validation accuracy {best.get('accuracy') or 0.0:.1%} in trial {best.get('number')}"
    parts = [element("p", f"{told}.")]
    if best.get("params"):
        parts.append(facts((name, element("code", str(value))) for name, value in best["params"].items()))
    importance = document.get("importance") or {}
    if importance:
        ordered = sorted(importance.items(), key=lambda item: -float(item[1]))
        bars = charts.stacked_bars([(name, [round(float(share), 3)]) for name, share in ordered], [""], "Importance")
        parts.append(figure(bars, "Share of the variance in accuracy that each setting explains."))
    return parts


def _read(path: Path) -> Any:
    """A JSON file of the run; None where there is none, or none that can be read: the report does without it."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
