"""The metrics of a batch, in CloudWatch's embedded metric format: names and dimensions that the dashboard counts on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from classifier.processor import Outcome, OutcomeStatus

_STAGES = ("fetch", "decode", "predict")


def measure(metrics: Metrics, outcomes: Sequence[Outcome], skipped: int) -> None:
    """Add what became of a batch. Each metric has the dimension ``service``; two have another one:

    - ``Results``, by ``model_version``: images that were classified or rejected.
    - ``Rejections``, by ``error_code``.

    Args:
        skipped: events that were not for us.
    """
    counts = Counter(outcome.status for outcome in outcomes)
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    for status in OutcomeStatus:
        metrics.add_metric(f"Images{status.capitalize()}", MetricUnit.Count, counts[status])
    metrics.add_metric("ImagesForReview", MetricUnit.Count, sum(result.needs_review for result in results))
    metrics.add_metric("EventsSkipped", MetricUnit.Count, skipped)
    for stage in _STAGES:
        for result in results:
            if stage in result.timing_ms:
                metrics.add_metric(f"{stage.capitalize()}Time", MetricUnit.Milliseconds, result.timing_ms[stage])
    _by(metrics, "Results", "model_version", Counter(result.model.version for result in results))
    _by(metrics, "Rejections", "error_code", Counter(result.error.code for result in results if result.error))


def _by(metrics: Metrics, name: str, dimension: str, counts: Counter[str]) -> None:
    """One line for each value: the dimensions of an embedded metric hold for all metrics of its line."""
    for value, count in sorted(counts.items()):
        dimensions = {"service": str(metrics.service), dimension: value}
        with single_metric(name, MetricUnit.Count, count, namespace=metrics.namespace, default_dimensions=dimensions):
            pass
