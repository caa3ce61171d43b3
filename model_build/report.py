"""``report.html`` of a bundle: one self-contained page from which a stranger can say whether to deploy it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from classifier.bundle import Manifest
from model_build.metrics import Scores
from model_build.plots import confusion_picture

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b2733; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dde5; }
table { border-collapse: collapse; } th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; } code { font-size: .9em; overflow-wrap: anywhere; } .muted { color: #5a6b7b; }
.figure { font-size: 2.2rem; font-weight: 600; }
"""
_WORST_CLASSES = 3


def render_report(manifest: Manifest, scores: Scores | None) -> str:
    """HTML of the page.

    Args:
        manifest: complete but for the files that are not the model.
        scores: of the test photos on the serving path; None for an imported model nobody measured here.
    """
    parts = [
        f"<h1>{escape(manifest.name)}</h1>",
        f'<p class="muted">version {escape(manifest.version)}, made {escape(manifest.created_at)}</p>',
        *(_measured(manifest, scores) if scores else [_unmeasured()]),
        "<h2>Model</h2>",
        _facts(_model_facts(manifest)),
        "<h2>Labels</h2>",
        f"<p>{len(manifest.labels)}, in output order: {escape('; '.join(manifest.labels))}</p>",
    ]
    for title, document in (
        ("Data", manifest.dataset),
        ("Training configuration", manifest.training),
        ("Libraries", {**manifest.libraries, **{f"{k} (proven with)": v for k, v in _interpreters(manifest)}}),
    ):
        if document:
            parts += [f"<h2>{title}</h2>", _facts((key, _text(value)) for key, value in document.items())]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(manifest.name)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _measured(manifest: Manifest, scores: Scores) -> list[str]:
    low, high = scores.interval
    picture = base64.b64encode(confusion_picture(scores)).decode()
    rows = [
        [score.label, _share(score.precision), _share(score.recall), _share(score.f1), str(score.support)]
        for score in scores.classes
    ]
    known = [score for score in scores.classes if score.recall is not None]
    worst = sorted(known, key=lambda score: (score.recall, score.label))[:_WORST_CLASSES]
    weakest = ", ".join(f"{score.label} ({_share(score.recall)} of {score.support})" for score in worst)
    candidates = [
        [
            str(one["quantization"]),
            _share(one["accuracy"]),
            f"{one['correct']} of {one['images']}",
            f"{one['size_bytes'] / 1024:,.0f} KB",
            f"{one['latency_ms']['median_ms']:.2f} ms",
            "this bundle" if one["quantization"] == manifest.metrics.get("quantization") else "",
        ]
        for one in manifest.metrics.get("candidates", [])
    ]
    parts = [
        f'<p class="figure">{scores.accuracy:.1%} right</p>',
        f"<p>{scores.correct} of {scores.images} test photos, which took no part in training; with 95 % confidence the"
        f" true accuracy on such photos is between {low:.1%} and {high:.1%} (Wilson). Measured with the model file of"
        " this bundle, in the interpreter and through the image decoding that serve.</p>",
        f"<p>Weakest by recall: {escape(weakest)}.</p>",
        "<p>The figures hold for photos like those of the test set. Confidences are not calibrated beyond training;"
        f" predictions under {manifest.review_threshold:g} are marked for review.</p>",
        "<h2>By class</h2>",
        _table(["class", "precision", "recall", "F1", "photos"], rows),
        "<h2>Confusion</h2>",
        f'<img alt="confusion matrix, rows true, columns predicted" src="data:image/png;base64,{picture}">',
    ]
    if candidates:
        head = ["format", "accuracy", "right", "size", "latency, median", ""]
        parts += ["<h2>Formats measured</h2>", _table(head, candidates)]
    return parts


def _unmeasured() -> str:
    return (
        "<p><strong>No accuracy is known.</strong> The model was imported, not trained here. Measure it with"
        " <code>bucketlens model evaluate BUNDLE DATA</code> on labelled photos before you rely on it.</p>"
    )


def _model_facts(manifest: Manifest) -> list[tuple[str, str]]:
    spec, out, scaling = manifest.input, manifest.output, manifest.scaling
    stored = (
        f", stored as real / {spec.quantization.scale:g} + {spec.quantization.zero_point}" if spec.quantization else ""
    )
    scaled = "inside the model" if scaling is None else f"(rgb - {list(scaling.mean)}) / {list(scaling.std)}"
    return [
        ("file", f"{manifest.model.size_bytes:,} bytes, sha256 {manifest.model.sha256}"),
        ("input", f"{spec.width} x {spec.height} RGB, {spec.dtype}{stored}"),
        ("resize", manifest.resize.value),
        ("value scaling", scaled),
        ("output", f"{out.kind}, {out.dtype}, temperature {out.temperature:g}"),
        ("review threshold", f"{manifest.review_threshold:g}"),
    ]


def _interpreters(manifest: Manifest) -> Iterable[tuple[str, str]]:
    return manifest.minimum_interpreter.items()


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"<tr><th>{escape(key)}</th><td><code>{escape(value)}</code></td></tr>" for key, value in rows)
    return f"<table>{''.join(lines)}</table>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = []
    for first, *rest in rows:
        numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in rest)
        lines.append(f"<tr><td>{escape(first)}</td>{numbers}</tr>")
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
