"""Whether the results of the last days are still those that the model gave when it was made.

What they are compared with is in the manifest: the answers to the validation photos. A model without one, such as an
imported one, is compared with the first week of its own results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from bucketlens.results import Item
from bucketlens.stability import Baseline, Shift, label_shift, shift
from classifier.bundle import MANIFEST_NAME, Manifest, ModelUri
from classifier.errors import BucketlensError, UserError
from model_build.metrics.answers import CONFIDENCE_BINS, AnswerMix, confidence_bin

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WEEK = 7
NAMESPACE = "Bucketlens"


@dataclass(frozen=True)
class LabelShare:
    """One label's share of the answers, before and now."""

    label: str
    expected: float
    actual: float


@dataclass(frozen=True)
class Drift:
    """How far the results of one model have moved.

    Attributes:
        baseline: in words, what they are compared with.
        days: how many days back the results go.
    """

    model_version: str
    baseline: str
    days: int
    expected: AnswerMix
    actual: AnswerMix

    @property
    def labels(self) -> Shift:
        return label_shift(self.expected, self.actual)

    @property
    def confidence(self) -> Shift:
        return shift(self.expected.confidence, self.actual.confidence)

    @property
    def shares(self) -> list[LabelShare]:
        """Every label, the largest change first."""
        names = sorted({*self.expected.labels, *self.actual.labels})
        shares = [
            LabelShare(name, *(mix.labels.get(name, 0) / mix.answers for mix in (self.expected, self.actual)))
            for name in names
        ]
        return sorted(shares, key=lambda one: -abs(one.actual - one.expected))

    def to_document(self) -> dict[str, Any]:
        return {
            "model_version": self.model_version,
            "baseline": self.baseline,
            "days": self.days,
            "images": {"baseline": self.expected.answers, "results": self.actual.answers},
            **{
                name: {"psi": round(one.index, 4), "chance": round(one.chance, 4), "verdict": one.verdict}
                for name, one in (("labels", self.labels), ("confidence", self.confidence))
            },
            "shares": {one.label: [round(one.expected, 4), round(one.actual, 4)] for one in self.shares},
            "confidence_bins": [list(self.expected.confidence), list(self.actual.confidence)],
        }

    def metrics(self, stack: str) -> dict[str, Any]:
        """Arguments of CloudWatch's PutMetricData: ``LabelDrift`` and ``ConfidenceDrift`` of the stack."""
        return {
            "Namespace": NAMESPACE,
            "MetricData": [
                {"MetricName": name, "Dimensions": [{"Name": "service", "Value": stack}], "Value": one.index}
                for name, one in (("LabelDrift", self.labels), ("ConfidenceDrift", self.confidence))
            ],
        }


class Tally:
    """Counts results by model version and day, as they are read; holds no result."""

    def __init__(self) -> None:
        self._labels: dict[tuple[str, date], dict[str, int]] = defaultdict(partial(defaultdict, int))
        self._confidence: dict[tuple[str, date], list[int]] = defaultdict(lambda: [0] * CONFIDENCE_BINS)
        self._newest: dict[str, str] = {}

    def add(self, item: Item) -> None:
        """Count a result; one without a label is not an answer of the model."""
        if "label" not in item or "confidence" not in item:
            return
        version, when = str(item["model_version"]), str(item["classified_at"])
        place = version, date.fromisoformat(when[:10])
        self._labels[place][str(item["label"])] += 1
        self._confidence[place][confidence_bin(float(item["confidence"]))] += 1
        self._newest[version] = max(when, self._newest.get(version, ""))

    def counting(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each counted as it passes."""
        for item in items:
            self.add(item)
            yield item

    def drift(
        self,
        model_mix: Callable[[str], AnswerMix | None],
        *,
        days: int = WEEK,
        version: str | None = None,
        baseline: Baseline = Baseline.AUTO,
        today: date | None = None,
    ) -> Drift:
        """Compare the results of the last ``days`` days, today included.

        Args:
            model_mix: what the manifest of a version says of its answers; None where it says nothing.
            version: of the model; by default that of the newest result.

        Raises:
            UserError: there are no such results, or nothing to compare them with.
        """
        if not self._newest:
            raise UserError("there are no classified images yet")
        chosen = version or max(self._newest, key=self._newest.__getitem__)
        first = (today or datetime.now(UTC).date()) - timedelta(days=days - 1)
        actual = self._mix(chosen, lambda day: day >= first)
        if not actual.answers:
            raise UserError(f"model {chosen} has classified nothing in the last {days} days; --days goes further back")
        expected = model_mix(chosen) if baseline is not Baseline.FIRST_WEEK else None
        if expected is not None and expected.answers:
            return Drift(chosen, "the model's answers to its validation photos", days, expected, actual)
        if baseline is Baseline.MODEL:
            raise UserError(f"the manifest of {chosen} holds no baseline; --baseline first-week compares with results")
        began = min(day for one, day in self._labels if one == chosen)
        ends = began + timedelta(days=WEEK)
        if ends > first:
            raise UserError(
                f"nothing to compare with yet: the manifest of {chosen} holds no baseline, and the first week of its"
                f" results, from {began}, is not over before {first}"
            )
        words = f"the first week of results, from {began}"
        return Drift(chosen, words, days, self._mix(chosen, lambda day: day < ends), actual)

    def _mix(self, version: str, wanted: Callable[[date], bool]) -> AnswerMix:
        mixes = (
            AnswerMix(labels, tuple(self._confidence[one, day]))
            for (one, day), labels in self._labels.items()
            if one == version and wanted(day)
        )
        return sum(mixes, AnswerMix({}, (0,) * CONFIDENCE_BINS))


def tally(items: Iterable[Item]) -> Tally:
    """Count all results."""
    counted = Tally()
    for _ in counted.counting(items):
        continue
    return counted


def drift_note(counted: Tally, s3: S3Client, model_uri: str) -> str | None:
    """One sentence on the drift of the last week, as the gallery shows it; None where there is nothing to compare."""
    try:
        found = counted.drift(lambda version: manifest_mix(s3, model_uri, version))
    except UserError:
        return None
    except (BucketlensError, BotoCoreError, ClientError) as error:
        return f"Drift unknown: {' '.join(str(error).split())}"
    told = " and ".join(
        f"{name} {one.verdict} (PSI {one.index:.2f})"
        for name, one in (("labels", found.labels), ("confidence", found.confidence))
    )
    return f"Drift in the last {found.days} days against {found.baseline}, model {found.model_version}: {told}."


def manifest_mix(s3: S3Client, model_uri: str, version: str) -> AnswerMix | None:
    """The baseline in the manifest of a version that is published at ``model_uri``; None where there is none.

    Raises:
        ModelIntegrityError, ModelIncompatibleError: the manifest is damaged or of another schema.
        ClientError, BotoCoreError: S3 does not answer or refuses.
    """
    where = ModelUri.parse(model_uri)
    try:
        data = s3.get_object(Bucket=where.bucket, Key=where.key(version, MANIFEST_NAME))["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    document = Manifest.from_bytes(data).metrics.get("baseline")
    try:
        return AnswerMix.from_document(document) if document else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the baseline in the manifest of {version} cannot be read: {error}") from error
