"""``report.html`` of a bundle: one self-contained page from which a stranger can say whether to deploy it.

The verdict stands first, what it rests on follows. Figures come from the manifest, which travels with the model; what
only the run knows (photos, curves, diagnostics) is added where there is a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from classifier.bundle import MULTI_LABEL, Manifest
from model_build.evaluation.gate import Check, Evidence, by_recall
from model_build.html import quality_charts
from model_build.html.elements import Html, badge, element, facts, join, page, table, text, tiles, verdict_box
from model_build.metrics.answers import SplitMetrics
from model_build.report.evaluation_parts import (
    MISTAKES_STYLE,
    EvaluationEvidence,
    evaluation_parts,
    golden_parts,
    novelty_parts,
    tournament_parts,
)
from model_build.report.training_parts import data_parts, training_parts

_KINDS = {True: "good", False: "stop", None: "note"}
_WIDE = 0.10
_UNCALIBRATED = 0.05
_MANY_LABELS = 60
_STYLE = (
    quality_charts.STYLE
    + MISTAKES_STYLE
    + ".pair { display: flex; flex-wrap: wrap; gap: 1rem 2rem; } .pair figure { flex: 0 1 22.6rem; }\n"
)
_TITLES = {
    "golden": "golden test",
    "tensors": "tensor parity",
    "accuracy": "minimum accuracy",
    "recall": "recall of every class",
    "live": "not worse than live",
}


def render_report(
    manifest: Manifest, evidence: EvaluationEvidence | None = None, golden: Mapping[str, bytes] | None = None
) -> str:
    """HTML of the page.

    Args:
        manifest: complete but for the files that are not the model.
        evidence: of its test photos; None for an imported model that nobody measured.
        golden: the bundle's files, whose golden photos are shown with the model's answers.
    """
    measured = Evidence.of(manifest)
    verdict, test = measured.gate, measured.test
    parts: list[str] = [
        element("h1", manifest.name),
        element("p", f"version {manifest.version}, made {manifest.created_at}", "muted"),
        _verdict(manifest, measured),
    ]
    if test:
        parts += [_figures(manifest, measured, test), *_warnings(measured, test, evidence)]
        parts += [element("h2", "Gate"), _checks(verdict.checks)]
    parts += [element("h2", "Model card"), _card(manifest, measured)]
    if evidence is not None:
        parts += [element("h2", "Evaluation"), *evaluation_parts(manifest, evidence)]
    parts += [*novelty_parts(manifest, measured.novelty)]
    parts += [*golden_parts(manifest, golden or {}), *tournament_parts(measured)]
    if evidence is not None and evidence.run is not None:
        parts += [*data_parts(evidence.run), *training_parts(evidence.run)]
    parts += [element("h2", "Technical facts"), facts(_model_facts(manifest)), *_details(manifest)]
    return page(f"{manifest.name} {manifest.version}", parts, style=_STYLE)


def _verdict(manifest: Manifest, measured: Evidence) -> Html:
    test = measured.test
    if test is None:
        return verdict_box(
            "fix",
            "No accuracy is known: do not deploy it before it has been measured.",
            "The model was imported, not trained here. Measure it on labelled photos before you rely on it:"
            " bucketlens model evaluate BUNDLE DATA --save NEW-BUNDLE",
        )
    low, high = test.interval_95
    unseen = (
        ", which took no part in training,"
        if manifest.training
        else " (whether it was trained on any of them is not known)"
    )
    told = (
        f"{test.correct} of {test.images} test photos{unseen} are classified correctly"
        f" ({test.accuracy:.1%}; the true accuracy is between {low:.1%} and {high:.1%} with 95 % confidence),"
        " measured with this bundle's model file, with the interpreter and the image decoding that are used in "
        "production."
    )
    if measured.gate.failed:
        return verdict_box("stop", f"Do not deploy, because {_named(measured.gate.failed)}.", told)
    unsure = _named(check for check in measured.gate.checks if check.name == "accuracy" and check.passed is None)
    accepts_none = measured.review is not None and measured.review.test_accepted == 0
    doubts = [unsure] if unsure else []
    doubts += ["it is sure of no test photo: every prediction needs a review"] if accepts_none else []
    if doubts:
        return verdict_box("fix", f"Not proven: nothing speaks against it, but {'; and '.join(doubts)}.", told)
    return verdict_box("good", "Deploy: it passes every check that could be made here.", told)


def _named(checks: Iterable[Check]) -> str:
    return "; ".join(f"{_TITLES.get(check.name, check.name)}: {check.detail}" for check in checks)


def _figures(manifest: Manifest, measured: Evidence, test: SplitMetrics) -> Html:
    latency, review = measured.latency_ms, measured.review
    low, high = test.interval_95
    rows: list[tuple[object, object]] = [
        (f"{test.accuracy:.1%}", f"test accuracy (95 %: {low:.1%} to {high:.1%})"),
        *([(f"{latency.median_ms:.2f} ms", f"per photo, 90 % under {latency.p90_ms:.2f} ms")] if latency else []),
        (
            _size(manifest.model.size_bytes),
            "model file" + (f", {measured.quantization}" if measured.quantization else ""),
        ),
    ]
    if test.ece is not None:
        before = "" if test.ece_before is None else f"; {test.ece_before:.3f} before scaling"
        rows.append((f"{test.ece:.3f}", f"calibration error (ECE{before})"))
    if review is not None and review.test_accepted is not None:
        right = review.test_precision
        told = f", {right:.1%} of them correct" if right is not None else ""
        rows.append((f"{review.test_accepted:.0%}", f"of test photos need no review{told}"))
    return tiles(rows)


def _warnings(measured: Evidence, test: SplitMetrics, evidence: EvaluationEvidence | None) -> list[Html]:
    """What does not stop a deployment but belongs into the decision."""
    low, high = test.interval_95
    lines = []
    if high - low > _WIDE:
        lines.append(
            f"The test set is small: with {test.images} photos the 95 % interval spans {(high - low) * 100:.0f} points."
            " More test photos make it narrower."
        )
    if (test.ece or 0.0) > _UNCALIBRATED:
        lines.append(f"Confidences are off by {test.ece:.1%} on average: use them to rank, not as probabilities.")
    if measured.review and not measured.review.reached:
        lines.append(f"Review threshold: {measured.review.statement}.")
    if evidence is not None:
        lines += evidence.warnings()
    return [element("h2", "Consider"), _list(lines)] if lines else []


def _checks(checks: Iterable[Check]) -> Html:
    rows = [(_TITLES.get(one.name, one.name), badge(one.word, _KINDS[one.passed]), one.detail) for one in checks]
    return table(("check", "verdict", "why"), rows, words=(0, 1, 2))


def _card(manifest: Manifest, measured: Evidence) -> Html:
    """After Mitchell et al., "Model Cards for Model Reporting" (2019)."""
    labels = manifest.labels
    shown = ", ".join(labels[:12]) + (f" and {len(labels) - 12} more" if len(labels) > 12 else "")
    trained = manifest.training
    classes = "labels apply to a photo" if manifest.output.kind == MULTI_LABEL else "classes a photo shows"
    splits = manifest.dataset.get("splits", {})
    rows: list[tuple[object, object]] = [
        ("What it does", f"Says which of {len(labels)} {classes}: {shown}."),
        (
            "Intended for",
            f"Photos like those it was {'tested on' if measured.test else 'made for'}, one subject each. It always"
            f" answers with one of its classes, also for a photo of something else; {_sign_of_others(manifest)}.",
        ),
        ("Not for", "Decisions about people, or any decision in which a wrong answer cannot be corrected afterwards."),
    ]
    if trained:
        counts = ", ".join(f"{count:,} {name}" for name, count in splits.items())
        rows.append(("Made from", f"{trained.get('backbone', 'a network')}, trained here; photos: {counts}"))
    review = measured.review
    threshold = review.statement if review else f"predictions below {manifest.review_threshold:g} are marked"
    rows += [
        ("Confidence", _confidence(manifest, measured.test)),
        ("Review", f"{threshold[0].upper()}{threshold[1:]}."),
    ]
    weakest = [one for one in by_recall(measured.test) if one[0] < 1][:3]
    if weakest:
        told = ", ".join(f"{label} ({recall:.0%} of {support})" for recall, label, support in weakest)
        rows.append(("Weakest classes", f"By recall on the test photos: {told}."))
    return facts(rows)


def _sign_of_others(manifest: Manifest) -> str:
    if manifest.novelty is None:
        return "a low confidence is then the only sign"
    return "if that looks unlike the photos it was made from, it is marked for review"


def _confidence(manifest: Manifest, test: SplitMetrics | None) -> str:
    if test is None or test.ece is None:
        return "Not calibrated: use it to rank predictions, not as a probability."
    if not manifest.training:
        return f"As the model gives it; on the test photos it is off by {test.ece:.1%} on average (ECE, 15 bins)."
    return (
        f"A probability, calibrated by temperature {manifest.output.temperature:.3g} fitted on the validation photos;"
        f" on the test photos it is off by {test.ece:.1%} on average (expected calibration error, 15 bins)."
    )


def _model_facts(manifest: Manifest) -> list[tuple[object, object]]:
    spec, out, scaling = manifest.input, manifest.output, manifest.scaling
    stored = (
        f", stored as real / {spec.quantization.scale:g} + {spec.quantization.zero_point}" if spec.quantization else ""
    )
    scaled = "inside the model" if scaling is None else f"(rgb - {list(scaling.mean)}) / {list(scaling.std)}"
    proven = ", ".join(f"{name} {version}" for name, version in manifest.minimum_interpreter.items())
    return [
        ("file", f"{manifest.model.size_bytes:,} bytes, sha256 {manifest.model.sha256}"),
        ("input", f"{spec.width} x {spec.height} RGB, {spec.dtype}{stored}"),
        ("resize", manifest.resize.value),
        ("JPEG draft margin", manifest.draft_margin),
        ("value scaling", scaled),
        ("output", f"{out.kind}, {out.dtype}, temperature {out.temperature:g}"),
        ("review threshold", f"{manifest.review_threshold:g}"),
        ("novelty limit", "-" if manifest.novelty is None else f"{manifest.novelty.limit:g}"),
        ("verified with", proven),
    ]


def _details(manifest: Manifest) -> list[Html]:
    parts = []
    shown = "; ".join(manifest.labels)
    head = f"Labels: {len(manifest.labels)}, in output order"
    parts.append(_folded(head, element("p", shown), opened=len(manifest.labels) <= _MANY_LABELS))
    dataset = {name: value for name, value in manifest.dataset.items() if not isinstance(value, dict)}
    for title, document in (
        ("Training configuration", manifest.training),
        ("Data set", dataset),
        ("Libraries", manifest.libraries),
    ):
        if document:
            parts.append(
                _folded(title, facts((name, element("code", _plain(value))) for name, value in document.items()))
            )
    return parts


def _folded(title: str, content: Html, *, opened: bool = False) -> Html:
    return Html(f"<details{' open' if opened else ''}><summary>{text(title)}</summary>{content}</details>")


def _list(lines: Iterable[str]) -> Html:
    return element("ul", join([element("li", line) for line in lines]))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else f"{value!r}"


def _size(count: int) -> str:
    return f"{count / 1024:,.0f} KB" if count < 1 << 20 else f"{count / (1 << 20):,.1f} MB"
