"""The report's parts on how good the model is: confusion, classes, calibration, mistakes, and the formats measured."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from classifier.bundle import Manifest
from classifier.errors import ImageRejected
from classifier.golden import GOLDEN_NAME, GoldenPhoto, GoldenSet
from classifier.imaging import ResizePolicy, decode
from model_build.conversion.tournament import LEAST_AGREEMENT, MOST_MOVED, SAME_LATENCY
from model_build.data.dataset import Photo
from model_build.evaluation.gate import Evidence
from model_build.evaluation.novelty import NoveltyMetrics
from model_build.html import quality_charts
from model_build.html.charts import Mark, histogram
from model_build.html.elements import Html, badge, element, figure, join, picture, table, text
from model_build.metrics.answers import Mistake, Quality
from model_build.metrics.scores import Scores
from model_build.report.training_parts import run_warnings
from model_build.training.run import Run

_CONFUSIONS = 8
MISTAKES_STYLE = """
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; padding: 0; }
.mistakes figure { margin: 0; background: var(--panel); border-radius: .5rem; padding: .6rem; }
.mistakes img { display: block; margin: 0 auto .4rem; border-radius: .25rem; }
.mistakes figcaption { color: var(--ink); font-size: .8125rem; line-height: 1.4; overflow-wrap: anywhere; }
"""
_SIDE = 144
_QUALITY = 82
_ANSWERS = 3


@dataclass(frozen=True)
class EvaluationEvidence:
    """What measuring adds to the manifest: ``quality`` on the test photos, its worst mistakes as HTML, and the run that
    the model was made by, where it was made here."""

    quality: Quality
    mistakes: Html
    run: Run | None = None

    def warnings(self) -> list[str]:
        return run_warnings(self.run) if self.run else []


def evaluation_parts(manifest: Manifest, evidence: EvaluationEvidence) -> list[Html]:
    quality = evidence.quality
    scores = quality.scores
    parts = [
        element(
            "p",
            f"{scores.images} test photos, decoded and classified by the function's own code; the true accuracy on such"
            f" photos is between {scores.interval[0]:.1%} and {scores.interval[1]:.1%} with 95 % confidence (Wilson)."
            + "".join(f" Among the best {k}: {share:.1%}." for k, share in quality.top_k.items()),
        ),
        element("h3", "By class"),
        _classes(scores),
        element("h3", "Confusion"),
    ]
    if len(scores.labels) <= quality_charts.MOST_LABELS:
        caption = "Rows are what the photo shows, columns what the model says. Mistakes are red."
        parts.append(figure(quality_charts.confusion(scores), caption))
    parts.append(_confusions(scores))
    parts += [element("h3", "Confidence"), *_calibration(manifest, quality)]
    if quality.worst:
        told = "The mistakes with the highest confidence. Sometimes it is the label that is wrong."
        parts += [element("h3", "Worst mistakes"), element("p", told), evidence.mistakes]
    else:
        parts.append(element("p", "There are no mistakes to show: every test photo is classified correctly."))
    return parts


def tournament_parts(measured: Evidence) -> list[Html]:
    """The table of formats, from the manifest alone."""
    if not measured.candidates:
        return []
    rows: list[tuple[object, ...]] = []
    for one in measured.candidates:
        served = one.quantization == measured.quantization
        name = (
            join([element("span", one.quantization), Html(" "), badge("this bundle", "good")])
            if served
            else one.quantization
        )
        if one.failure:
            rows.append((name, *["-"] * 7, one.failure))
            continue
        rows.append(
            (
                name,
                f"{one.validation_accuracy:.1%}",
                f"{one.agreement:.1%}",
                f"{one.moved:.4f}",
                f"{one.accuracy:.1%}",
                f"{one.latency_ms['median_ms']:.2f}",
                f"{one.latency_ms['p90_ms']:.2f}",
                f"{one.size_bytes / 1024:,.0f}",
                one.reason,
            )
        )
    head = ("format", "validation", "agrees", "moved", "test", "median, ms", "p90, ms", "KB", "why")
    told = (
        f"The choice is the cheapest format that loses at most {measured.tolerance * 100:g} points of float32's"
        f" validation accuracy, agrees with float32 on at least {LEAST_AGREEMENT:.0%} of the validation photos and"
        f" moves their probabilities by at most {MOST_MOVED:g} (mean total variation distance; both need no labels and"
        " are steadier than accuracy on few photos). Cost is latency in the interpreter that serves; within"
        f" {SAME_LATENCY - 1:.0%} of the fastest, size. The test figures are for information and do not affect the"
        " choice."
    )
    return [element("h2", "Formats measured"), table(head, rows, words=(0, 8)), element("p", told, "small")]


def novelty_parts(manifest: Manifest, measured: NoveltyMetrics | None) -> list[Html]:
    """How unlike the known photos new ones may be; from the manifest alone."""
    if manifest.novelty is None or measured is None:
        return []
    limit = manifest.novelty.limit
    told = (
        f"A photo that is unlike those the model was made from is marked for review, however sure the prediction is."
        f" {limit:.0%} of {measured.validation} validation photos are within the limit; of the test photos, which"
        f" took no part in setting it, {measured.test:.1%} are beyond."
    )
    caption = (
        f"Validation photos by their distance to the nearest of {measured.known} photos, chosen from"
        f" {measured.training} training photos to cover them best, by what the model's last layer sees."
        " What is to the right of the line is marked."
    )
    columns = histogram(
        measured.edges,
        measured.counts,
        "Distance of the validation photos to the nearest known photo",
        edge_words=[f"{edge:.2f}" if number % 4 == 0 else "" for number, edge in enumerate(measured.edges)],
        marks=[Mark(measured.limit_distance, f"limit {limit:g}")],
    )
    return [element("h2", "Novelty"), element("p", told), figure(columns, caption)]


def _classes(scores: Scores) -> Html:
    rows = [
        (one.label, _share(one.precision), _share(one.recall), _share(one.f1), f"{one.support:,}")
        for one in scores.classes
    ]
    return table(("class", "precision", "recall", "F1", "photos"), rows)


def _confusions(scores: Scores) -> Html:
    """The pairs that are confused most often."""
    pairs = [
        (count, scores.labels[row], scores.labels[column], sum(counts))
        for row, counts in enumerate(scores.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    if not pairs:
        return Html("")
    rows = [(truth, said, f"{count} of {total}") for count, truth, said, total in pairs[:_CONFUSIONS]]
    return table(("actual", "predicted", "photos"), rows, words=(0, 1))


def _calibration(manifest: Manifest, quality: Quality) -> list[Html]:
    before, after = quality.before, quality.after
    fitted = ", fitted on the validation photos by the likelihood of their labels" if manifest.training else ""
    told = (
        f"Expected calibration error {before.error:.3f} before and {after.error:.3f} after temperature scaling"
        f" (temperature {quality.temperature:.3g}{fitted}; 15 bins of equal width; Guo et al., 2017). Blue is"
        " accuracy by confidence; a perfectly calibrated model lies on the dotted line. Red is overconfidence, violet"
        " underconfidence. Pale bars are based on few photos."
    )
    pair = join(
        [
            figure(quality_charts.reliability(before, "Reliability before temperature scaling"), "Before scaling"),
            figure(
                quality_charts.reliability(
                    after, "Reliability after temperature scaling", threshold=manifest.review_threshold
                ),
                "After scaling, as served",
            ),
        ]
    )
    parts = [element("p", told), element("div", pair, "pair")]
    measured = Evidence.of(manifest)
    splits = [("validation", measured.validation), ("test", measured.test)]
    curves = [(name, one.risk_coverage) for name, one in splits if one is not None and one.risk_coverage]
    if curves:
        accepted = measured.review.accepted if measured.review else None
        caption = (
            "What share of the accepted predictions is wrong when only the surest are accepted. The line marked"
            f" accepted is the review threshold, {manifest.review_threshold:g}."
        )
        parts += [element("h3", "Risk"), figure(quality_charts.risk_coverage(curves, accepted=accepted), caption)]
    return parts


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def mistake_pictures(mistakes: Sequence[Mistake], photos: Sequence[Photo]) -> Html:
    """The photos of ``mistakes`` with what they are and what the model said; ``photos`` are in the order of rows."""
    return _grid(_figure(one, photos[one.row]) for one in mistakes)


def golden_parts(manifest: Manifest, files: Mapping[str, bytes]) -> list[Html]:
    """The golden photos among a bundle's files, each with the model's best labels; nothing where there are none."""
    golden = GoldenSet.from_bytes(files[GOLDEN_NAME]).photos if GOLDEN_NAME in files else ()
    if not golden:
        return []
    told = (
        "What the model says of the photos that were given with it. Nobody has told it what they show: look whether it"
        " is right. The function and publishing check that it gives these answers again."
    )
    pictures = _grid(_golden(one, manifest.labels, files[one.file]) for one in golden)
    return [element("h2", "Golden photos"), element("p", told), pictures]


def _grid(figures: Iterable[str]) -> Html:
    return Html('<div class="mistakes">' + "".join(figures) + "</div>")


def _golden(photo: GoldenPhoto, labels: Sequence[str], data: bytes) -> str:
    best = sorted(zip(photo.probabilities, labels, strict=True), key=lambda one: -one[0])[:_ANSWERS]
    answers = "<br>".join(f"{text(label)} {confidence:.0%}" for confidence, label in best)
    return (
        f"<figure>{_thumbnail(data, photo.file)}<figcaption>{answers}"
        f'<br><span class="muted">{text(photo.file)}</span></figcaption></figure>'
    )


def _figure(mistake: Mistake, photo: Photo) -> str:
    try:
        thumbnail = _thumbnail(photo.path.read_bytes(), photo.name)
    except OSError:  # it has gone since it was measured; its caption still tells of it
        thumbnail = Html("")
    return (
        f"<figure>{thumbnail}<figcaption>said <strong>{text(mistake.predicted)}</strong>"
        f" {mistake.confidence:.0%}<br>is <strong>{text(mistake.truth)}</strong> {mistake.truth_confidence:.0%}"
        f'<br><span class="muted">{text(photo.name)}</span></figcaption></figure>'
    )


def _thumbnail(data: bytes, name: str) -> Html:
    try:
        image = decode(data, height=_SIDE, width=_SIDE, policy=ResizePolicy.PAD).tensor
    except ImageRejected:  # it has changed since it was measured
        return Html("")
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=_QUALITY)
    return picture(stream.getvalue(), "image/jpeg", name, size=(_SIDE, _SIDE))
