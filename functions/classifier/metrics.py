"""The metrics of an invocation, in CloudWatch's embedded metric format: the names that the dashboard shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from classifier.processor import Outcome, OutcomeStatus

_STAGES = ("fetch", "decode", "predict")


class InvocationMetrics:
    """Collects metrics until they are flushed. Each has the dimension ``service``; two have another one besides:

    - ``Results``, by ``model_version``: images that were classified or rejected.
    - ``Rejections``, by ``error_code``.
    """

    def __init__(self, namespace: str, service: str) -> None:
        self._namespace = namespace
        self._service = service
        self._plain = Metrics(namespace=namespace, service=service)
        self._by: Counter[tuple[str, str, str]] = Counter()

    def count(self, name: str, count: int) -> None:
        """Add a count; 0 is one, too."""
        self._plain.add_metric(name, MetricUnit.Count, count)

    def add_batch(self, outcomes: Sequence[Outcome], skipped: int) -> None:
        """Add what became of a batch.

        Args:
            skipped: events that were not for us.
        """
        counts = Counter(outcome.status for outcome in outcomes)
        results = [outcome.result for outcome in outcomes if outcome.result is not None]
        for status in OutcomeStatus:
            self.count(f"Images{status.capitalize()}", counts[status])
        self.count("ImagesForReview", sum(result.needs_review for result in results))
        self.count("EventsSkipped", skipped)
        for stage in _STAGES:
            for result in results:
                if stage in result.timing_ms:
                    name = f"{stage.capitalize()}Time"
                    self._plain.add_metric(name, MetricUnit.Milliseconds, result.timing_ms[stage])
        for result in results:
            self._by["Results", "model_version", result.model.version] += 1
            if result.error is not None:
                self._by["Rejections", "error_code", result.error.code] += 1

    def flush(self) -> None:
        """Write what was collected to standard output, from where Lambda's log takes it to CloudWatch."""
        for (name, dimension, value), count in sorted(self._by.items()):
            # A line of its own: the dimensions of an embedded metric hold for all metrics of its line.
            dimensions = {"service": self._service, dimension: value}
            with single_metric(name, MetricUnit.Count, count, namespace=self._namespace, default_dimensions=dimensions):
                pass
        self._by.clear()
        self._plain.flush_metrics()

    def clear(self) -> None:
        """Forget what was collected."""
        self._by.clear()
        self._plain.clear_metrics()
