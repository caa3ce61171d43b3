"""The metrics of an invocation, in CloudWatch's embedded metric format: the names that the dashboard shows."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from classifier.processor import Outcome, OutcomeStatus
from classifier.records import ReviewReason

_STAGES = ("fetch", "decode", "predict")
_COUNT, _MILLISECONDS = "Count", "Milliseconds"
_MOST_VALUES = 100  # of one metric in one line: CloudWatch User Guide, "Embedded metric format specification"
_Metrics = Mapping[tuple[str, str], Sequence[float]]  # values by name and unit


class InvocationMetrics:
    """Collects metrics until they are flushed. Each has the dimension ``service``; two have another one besides:

    - ``Results``, by ``model_version``: images that were classified or rejected.
    - ``Rejections``, by ``error_code``.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, namespace: str, service: str, clock: Callable[[], float] = time.time) -> None:
        self._namespace = namespace
        self._service = service
        self._clock = clock
        self._plain: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._by: Counter[tuple[str, str, str]] = Counter()

    def count(self, name: str, count: int) -> None:
        """Add a count; 0 is one, too."""
        self._plain[name, _COUNT].append(count)

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
        self.count("NovelImages", sum(result.review_reason is ReviewReason.NOVELTY for result in results))
        self.count("EventsSkipped", skipped)
        for stage in _STAGES:
            times = [round(result.timing_ms[stage], 2) for result in results if stage in result.timing_ms]
            self._plain[f"{stage.capitalize()}Time", _MILLISECONDS] += times
        for result in results:
            self._by["Results", "model_version", result.model.version] += 1
            if result.error is not None:
                self._by["Rejections", "error_code", result.error.code] += 1

    def flush(self) -> None:
        """Write what was collected to standard output, from where Lambda's log takes it to CloudWatch."""
        for (name, dimension, value), count in sorted(self._by.items()):
            # A line of its own: the dimensions of an embedded metric hold for all metrics of its line.
            self._write({(name, _COUNT): [count]}, {dimension: value})
        for first in range(0, max(map(len, self._plain.values()), default=0), _MOST_VALUES):
            upto = first + _MOST_VALUES
            self._write({key: values[first:upto] for key, values in self._plain.items() if len(values) > first}, {})
        self.clear()

    def _write(self, metrics: _Metrics, by: Mapping[str, str]) -> None:
        dimensions = {"service": self._service, **by}
        described = {
            "Namespace": self._namespace,
            "Dimensions": [list(dimensions)],
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in metrics],
        }
        document = {
            "_aws": {"Timestamp": int(self._clock() * 1000), "CloudWatchMetrics": [described]},
            **dimensions,
            **{name: values for (name, _), values in metrics.items()},
        }
        sys.stdout.write(json.dumps(document) + "\n")

    def clear(self) -> None:
        """Forget what was collected."""
        self._by.clear()
        self._plain.clear()
