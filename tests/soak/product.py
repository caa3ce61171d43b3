"""The code under test, put together in a simulated process as ``classifier.app`` does it in a real one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from classifier import app
from classifier.admission import ByteBudget
from classifier.errors import BucketlensError
from classifier.messages import Queue
from classifier.pipeline import IN_FLIGHT, Pipeline
from classifier.settings import Settings
from classifier.store import Store
from tests.soak.clients import DynamoDbClient, S3Client, SqsClient
from tests.soak.model import SimulatedModel
from tests.soak.schedule import BUCKET, INPUT_PREFIX, MAX_BYTES, MODEL_PREFIX, OUTPUT_PREFIX, QUEUE_URL
from tests.soak.scheduler import Process, SimulatedExecutor, Slots
from tests.soak.world import World

TABLE = "bucketlens-predictions"
# Files in memory at once, in the simulation: few enough that some wait.
_FILES = 4


class Function:
    """One process's application, behind the part of ``classifier.app.handler`` that concerns logs and metrics."""

    def __init__(self, world: World, process: Process) -> None:
        s3: Any = S3Client(world, process, world.bucket)
        dynamodb: Any = DynamoDbClient(world, process, world.table)
        settings = Settings.from_environment(
            {
                "MODEL_URI": f"s3://{BUCKET}/{MODEL_PREFIX}",
                "INPUT_PREFIX": INPUT_PREFIX,
                "OUTPUT_PREFIX": OUTPUT_PREFIX,
                "TABLE_NAME": TABLE,
                "QUEUE_URL": QUEUE_URL,
                "MAX_IMAGE_BYTES": str(MAX_BYTES),
                "OUTPUT_MODE": "jsonl" if world.profile.lines else "image",
                "REMOVE_DELETED": "true" if world.profile.removes else "false",
            }
        )
        pipeline = Pipeline(
            Store(s3, dynamodb, settings.table_name),
            settings,
            clock=world.clock(),
            executor=SimulatedExecutor(process, IN_FLIGHT),
            budget=_Budget(process),
        )

        def sqs() -> Any:
            return SqsClient(world, process, world.queue)

        def model() -> Any:
            return SimulatedModel(world, process, s3)

        self._application = app.Application(settings, model, pipeline, Queue(QUEUE_URL, sqs))
        # As at import: before the first event if it can be.
        with suppress(BucketlensError):
            self._application.model.current()

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        app.metrics.clear()
        return self._application.handle(event, context)


class _Budget(ByteBudget):
    """Waits in virtual time; files count one each, whatever their size."""

    def __init__(self, process: Process) -> None:
        super().__init__(_FILES)
        self._slots = Slots(process.scheduler, _FILES)

    @contextmanager
    def reservation(self) -> Iterator[Callable[[int], None]]:
        held = False

        def reserve(size: int) -> None:
            nonlocal held
            held = held or self._slots.acquire(1e9)

        try:
            yield reserve
        finally:
            if held:
                self._slots.release()


class _TraceHandler(logging.Handler):
    """The function's own log lines, between what happens around it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        told = {name: getattr(record, name) for name in ("image", "code", "reason", "images") if hasattr(record, name)}
        self._world.say(f"  log: {record.getMessage()} {told}")


def start(world: World, process: Process) -> Function:
    """A cold start."""
    log = logging.getLogger(app.logger.name)
    log.handlers.clear()
    if world.trace is None:
        log.setLevel(logging.CRITICAL)
    else:
        log.addHandler(_TraceHandler(world))
        log.setLevel(logging.INFO)
    return Function(world, process)
