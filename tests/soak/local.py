"""``python -m tests.soak.local``: thousands of images through the local stack on a bad day that lasts.

Two in a hundred are broken, two come twice, one call in a hundred of the function's fails, the functions are killed
every 30 seconds and another model is promoted halfway. Every image must end as it should.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from bucketlens.local.event_source import BatchReport
from tests.e2e.conftest import Application, behind_a_proxy
from tests.support.bundles import CREATED, bundle_files, publish
from tests.support.images import COLOURS, png
from tests.support.processes import kill_functions
from tests.support.proxy import Call, Fault

PORTION = 100
# Enough for every function; more only makes the queue of the local endpoints slow.
BACKLOG = 500
KILL_SECONDS = 30.0
RESIGNED_SECONDS = 600.0


class Day:
    """What happened, and what is about to; the proxy's plan and its ledger. Safe to use from several threads."""

    def __init__(self, seed: int, failing: float) -> None:
        self._random = random.Random(seed)
        self._failing = failing
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def plan(self, call: Call) -> Fault | None:
        with self._lock:
            self.counts["calls"] += 1
            if self._random.random() >= self._failing:
                return None
            self.counts["failed calls"] += 1
            return self._random.choice(list(Fault))

    def carried_out(self, call: Call) -> None:
        """Count an image fetched; it is open until its JSON is written."""
        with self._lock:
            if call.operation == "GetObject" and "/incoming/" in call.subject:
                self.counts["fetches"] += 1
                self._open[call.subject.rpartition("/")[2]] += 1
            elif call.operation == "PutObject":
                self._open.pop(call.subject.rpartition("/")[2].removesuffix(".json"), None)

    def report(self, batch: BatchReport) -> None:
        """Count batches that failed as a whole, by their error: a killed function's, a timeout."""
        if batch.error is not None:
            with self._lock:
                self.counts[f"batches failed by {batch.error.type}"] += 1

    def kill(self) -> None:
        """Kill the functions; what they had fetched and not written is to be fetched again."""
        with self._lock:
            self.counts["kills"] += kill_functions()
            self.counts["fetches lost to kills"] += self._open.total()
            self._open.clear()


class Killer(threading.Thread):
    """Kills the functions again and again until it is stopped."""

    def __init__(self, day: Day) -> None:
        super().__init__(name="killer")
        self._day = day
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(KILL_SECONDS):
            self._day.kill()

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def images(count: int) -> dict[str, tuple[bytes, str]]:
    """Key -> content, and the label or the code of the rejection that it must get."""
    made = {}
    for number in range(count):
        colour = list(COLOURS)[number % 3]
        data = png(colour, seed=number)
        broken = number % 50 == 7
        made[f"incoming/{number}.png"] = (data[:100], "image.corrupt") if broken else (data, colour)
    return made


def repeat(application: Application, keys: list[str]) -> list[str]:
    """Deliver the events of images once more; returns those that have not come yet."""
    stack, left = application.stack, []
    for key in keys:
        uri = {"S": f"s3://{stack.bucket}/{key}"}
        item = stack.aws.dynamodb.get_item(TableName=stack.table, Key={"image_uri": uri}).get("Item")
        if item is None:
            left.append(key)
            continue
        s3 = {"bucket": {"name": stack.bucket}, "object": {"key": key, "sequencer": item["sequencer"]["S"]}}
        event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}
        stack.aws.sqs.send_message(QueueUrl=stack.queue_url, MessageBody=json.dumps(event))
    return left


def live_through(application: Application, day: Day, made: dict[str, tuple[bytes, str]]) -> None:
    """Drop all images, not faster than they are done, and wait for the last."""
    stack, keys = application.stack, list(made)
    twice: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(keys), PORTION):
            if start <= len(keys) // 2 < start + PORTION:
                publish(stack.aws.s3, stack.bucket, bundle_files(created=CREATED + timedelta(days=1)))
            portion = keys[start : start + PORTION]
            list(
                pool.map(lambda key: stack.aws.s3.put_object(Bucket=stack.bucket, Key=key, Body=made[key][0]), portion)
            )
            twice = repeat(application, [*twice, *portion[::50]])
            application.until(lambda: application.waiting(stack.queue_url) < BACKLOG, RESIGNED_SECONDS)
    application.drained(RESIGNED_SECONDS)
    repeat(application, twice)
    application.drained(RESIGNED_SECONDS)
    day.counts["events"] = len(keys) + len(keys[::50])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.local", description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--failing", type=float, default=0.01, help="the part of the function's calls that fail")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    day, made = Day(options.seed, options.failing), images(options.images)
    parameters = {"Timeout": "30"}
    with (
        tempfile.TemporaryDirectory() as folder,
        behind_a_proxy(Path(folder), parameters=parameters, retry_after_seconds=1, report=day.report) as running,
    ):
        application, proxy = running
        proxy.plan, proxy.carried_out = day.plan, day.carried_out
        started, killer = time.monotonic(), Killer(day)
        killer.start()
        try:
            live_through(application, day, made)
        finally:
            killer.stop()
        seconds = time.monotonic() - started
        wrong = application.wrong({key: outcome for key, (_, outcome) in made.items()})
        dead = application.waiting(application.stack.dead_letter_queue_url)
        models = Counter(item["model_version"]["S"] for item in application.items().values())
    events, fetches = day.counts["events"], day.counts["fetches"]
    kept = fetches - day.counts["fetches lost to kills"]
    lines = [
        f"{len(made):,} images in {seconds:.0f} s: {len(made) - len(wrong):,} right outcomes, {dead} dead letters",
        ", ".join(f"{name}: {count:,}" for name, count in day.counts.items()),
        ", ".join(f"{version}: {count:,} images" for version, count in sorted(models.items())),
        f"fetches an event: {fetches / events:.3f}, {kept / events:.3f} without what the kills cost",
        *wrong[:20],
    ]
    sys.stdout.write("\n".join([*lines, ""]))
    return 1 if wrong or dead or len(models) != 2 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
