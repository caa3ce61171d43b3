"""How long images take on AWS, and which limit binds first: a closed model.

One invocation is a closed queueing network: :data:`IN_FLIGHT` threads wait for storage, then for the processor. Its
pace follows from mean value analysis (Reiser and Lavenberg, "Mean-Value Analysis of Closed Multichain Queuing
Networks", J. ACM 27 (2), 1980). All invocations together are a fluid: Lambda adds them at the event source's
pace up to the concurrency, or until the slowest of the other limits is reached. Limits are taken as AWS documents them
for the start; S3 and DynamoDB raise theirs after minutes of steady load, which is not counted on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from bucketlens.measured import Usage

MEGABYTES_PER_VCPU = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
IN_FLIGHT = 8
"""Images that an invocation has under way at once (``classifier.pipeline``)."""

# Seconds a request takes from Lambda in the same region, mean: medians of 20, 25 and 5 ms, as the benchmark's simulator
# draws them (lognormal, sigma 0.35).
GET_SECONDS, PUT_SECONDS, PUT_ITEM_SECONDS = (median * math.exp(0.35**2 / 2) for median in (0.020, 0.025, 0.005))

# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html, standard queues. Lambda's own pace, 1,000
# environments every 10 seconds for each function, is faster
# (https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html).
FIRST_INVOCATIONS = 5
INVOCATIONS_PER_SECOND = 300 / 60

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_MESSAGES_IN_FLIGHT = 120_000
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
_S3_READS, _S3_WRITES = 5_500, 3_500
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
NEW_TABLE_WRITES = 4_000
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
_PARTITION_WRITES = 1_000


@dataclass(frozen=True)
class Job:
    """Images that lie in the queue, and the settings of the stack that classifies them.

    Attributes:
        mode: ``image`` or ``jsonl``, as the template's OutputMode.
        memory: MemorySize, megabytes.
        batch: BatchSize; batches are full.
        concurrency: MaximumConcurrency.
        write_units: of the table for one item.
        attention: share of images that are rejected or to be reviewed.
        largest_label: share of images that get the most frequent label.
        prefixes: of the bucket, over which images and predictions are spread evenly.
        table_writes: write units that the table and each index take a second.
    """

    images: int
    mode: str = "image"
    memory: int = MEGABYTES_PER_VCPU
    batch: int = 20
    concurrency: int = 50
    write_units: int = 1
    attention: float = 0.1
    largest_label: float = 0.2
    prefixes: int = 1
    table_writes: int = NEW_TABLE_WRITES

    @property
    def is_lines(self) -> bool:
        return self.mode == "jsonl"


@dataclass(frozen=True)
class Limit:
    """Something that bounds the images a second.

    Attributes:
        remedy: how to raise it.
    """

    name: str
    images_per_second: float
    remedy: str


@dataclass(frozen=True)
class Forecast:
    """How a job goes, from what its images use.

    Attributes:
        start_seconds: from the start of a process until the model is loaded.
    """

    job: Job
    usage: Usage
    start_seconds: float

    @cached_property
    def invocation_seconds(self) -> float:
        """One invocation with a full batch."""
        return invocation_seconds(self.usage, self.job.batch, self.job.memory, lines=self.job.is_lines)

    @property
    def function_rate(self) -> float:
        """Images a second of one function."""
        return self.job.batch / self.invocation_seconds

    @cached_property
    def limits(self) -> list[Limit]:
        """What bounds the images a second once all functions run, the tightest first."""
        job, found = self.job, []

        def limit(name: str, rate: float, remedy: str) -> None:
            if math.isfinite(rate):
                found.append(Limit(name, rate, remedy))

        limit("Lambda: MaximumConcurrency", job.concurrency * self.function_rate, "MaximumConcurrency, up to 1,000")
        limit("SQS: messages in flight", _MESSAGES_IN_FLIGHT / self.invocation_seconds, "a smaller BatchSize")
        limit("S3: GET of a prefix", job.prefixes * _S3_READS, "several prefixes")
        writes = job.prefixes * _S3_WRITES
        if job.is_lines:
            limit("S3: PUT of a prefix", _S3_WRITES * job.batch, "a larger BatchSize")
        else:
            limit("S3: PUT of a prefix", writes, "several prefixes, or OutputMode=jsonl")
        limit("DynamoDB: table", job.table_writes / job.write_units, "warm throughput, also of the indexes")
        for index, share, remedy in (
            ("by-label", job.largest_label, "DynamoDB itself, which splits a busy label"),
            ("attention", job.attention, "a lower ReviewThreshold"),
        ):
            rate = _PARTITION_WRITES / (job.write_units * share) if share else math.inf
            limit(f"DynamoDB: a partition of {index}", rate, remedy)
        return sorted(found, key=lambda one: one.images_per_second)

    @property
    def useful_concurrency(self) -> int:
        """Functions that reach the tightest limit but their own number. More would wait for it, at their price."""
        other = min(one.images_per_second for one in self.limits if not one.name.startswith("Lambda"))
        return max(2, math.ceil(other / self.function_rate))

    @property
    def _at_once(self) -> float:
        """Functions that reach the tightest limit."""
        return self.limits[0].images_per_second / self.function_rate

    @cached_property
    def _work_seconds(self) -> float:
        first = min(FIRST_INVOCATIONS, self._at_once)
        growing = (self._at_once - first) / INVOCATIONS_PER_SECOND
        work = self.job.images / self.function_rate
        done = growing * (first + self._at_once) / 2
        if work >= done:
            return growing + (work - done) / self._at_once
        return (math.sqrt(first**2 + 2 * INVOCATIONS_PER_SECOND * work) - first) / INVOCATIONS_PER_SECOND

    @property
    def seconds(self) -> float:
        """From the first invocation until the last image is done."""
        return self.start_seconds + max(self.invocation_seconds, self._work_seconds)

    @property
    def functions(self) -> int:
        """How many run at once in the end, each of which was started once. Some may only wait for storage."""
        added = FIRST_INVOCATIONS + math.ceil(INVOCATIONS_PER_SECOND * self._work_seconds)
        return min(self.job.concurrency, added, self.invocations)

    @property
    def bound_by(self) -> str:
        """What a faster job would need first."""
        return self.limits[0].name if self.functions >= self._at_once else "Lambda: 300 more invocations a minute"

    @property
    def invocations(self) -> int:
        return math.ceil(self.job.images / self.job.batch)


def invocation_seconds(usage: Usage, images: int, memory: int, *, lines: bool) -> float:
    """How long an invocation takes.

    Up to one image a thread, all are fetched at once and take turns at the processor. Of more, each further one takes
    the pace of the closed network of :data:`IN_FLIGHT` threads.
    """
    waiting = GET_SECONDS + PUT_ITEM_SECONDS + (0.0 if lines else PUT_SECONDS)
    vcpus = memory / MEGABYTES_PER_VCPU
    busy, alone = _processor_seconds(usage, vcpus)
    seconds = usage.invocation_cpu_ms / 1000 / min(1.0, vcpus) + (PUT_SECONDS if lines else 0.0)
    if images <= IN_FLIGHT:
        return seconds + waiting + alone + (images - 1) * busy
    return seconds + waiting + alone + (images - 1) * _pace(busy, waiting + alone - busy)


def _processor_seconds(usage: Usage, vcpus: float) -> tuple[float, float]:
    """Seconds between two images where the processor never waits, and seconds of it for one image alone.

    There is one worker process for each whole vCPU, and one main process, in Python; each is a thread of execution.
    """
    workers = max(1, int(vcpus))
    cpu, worker = usage.cpu_ms / 1000, min(usage.worker_ms, usage.cpu_ms) / 1000
    busy = max(cpu / vcpus, worker / min(workers, vcpus), (cpu - worker) / min(1.0, vcpus))
    return busy, cpu / min(1.0, vcpus)


def _pace(service: float, delay: float) -> float:
    """Seconds between two departures of a closed network of one queue and a delay, by mean value analysis."""
    queue = cycle = 0.0
    for customers in range(1, IN_FLIGHT + 1):
        response = service * (1 + queue)
        cycle = (response + delay) / customers
        queue = response / cycle
    return cycle
