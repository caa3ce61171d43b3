"""The Lambda service and its event source: execution environments, timeouts, kills, batches, partial responses."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from tests.soak.schedule import BUCKET
from tests.soak.scheduler import Process
from tests.soak.services import Message
from tests.soak.world import Event, Invocation, World, comparable, notification, ordering

Finish = Callable[[Any, BaseException | None], None]
ASYNCHRONOUS_RETRIES = 2
REQUEST_RETRIES = 5
# No schedule needs as many.
MOST_INVOCATIONS = 1500
# For so long after its timeout an invocation may still be running, for all that others know: clocks differ.
_CLOCK_MARGIN = 6.0


class Endless(Exception):
    """The queue never becomes empty."""


class Died(Exception):
    """The process was killed or ran into its timeout."""


class Application(Protocol):
    """The code under test."""

    def handle(self, event: Any, context: Any) -> dict[str, Any]: ...


class Context:
    """Lambda's context object, as far as it is used."""

    def __init__(self, world: World, invocation: Invocation) -> None:
        self.aws_request_id = invocation.request_id
        self._world = world
        self._deadline = invocation.deadline

    def get_remaining_time_in_millis(self) -> int:
        return int((self._deadline - self._world.scheduler.now) * 1000)


class _Environment:
    """A process that runs one invocation at a time."""

    def __init__(self, world: World, name: str) -> None:
        self.process = Process(world.scheduler, name, self._died)
        self.application: Application | None = None
        self.finish: Finish | None = None
        world.calls.add(("logs", "CreateLogStream", "log group"))

    def _died(self) -> None:
        if (finish := self.finish) is not None:
            self.finish = None
            finish(None, Died())


class LambdaService:
    """Runs the function.

    Args:
        start: makes the application in a process; it may take time and fail, as a cold start does.
    """

    def __init__(self, world: World, start: Callable[[Process], Application]) -> None:
        self._world = world
        self._start = start
        self._idle: list[_Environment] = []
        self._count = 0

    def invoke(
        self, event: Any, messages: list[Message], images: dict[str, tuple[str | None, int]], finish: Finish
    ) -> Invocation:
        self._count += 1
        return self._invoke(f"request-{self._count}", event, messages, images, finish)

    def invoke_asynchronously(self, events: list[Event], attempt: int = 0, request_id: str = "") -> None:
        """As S3 invokes it: tried again with the same request id, then kept in the dead-letter queue."""
        self._count += 1
        request_id = request_id or f"request-{self._count}"

        def finish(response: Any, error: BaseException | None) -> None:
            if error is None:
                return
            if attempt < ASYNCHRONOUS_RETRIES:
                self._world.scheduler.call_later(
                    60.0 * (attempt + 1), lambda: self.invoke_asynchronously(events, attempt + 1, request_id)
                )
            else:
                self._world.calls.add(("sqs", "SendMessage", "dead letters"))
                self._world.dead_requests += events
                self._world.say(f"{request_id} goes to the dead letters")

        images: dict[str, tuple[str | None, int]] = {event.key: (event.sequencer, 1) for event in events}
        self._invoke(request_id, notification(events), [], images, finish)

    def request(self, key: str, attempt: int = 0) -> None:
        """As a person invokes it for one image, who tries again when it fails."""
        self._world.requested[key] = self._world.requested.get(key, 0) + 1

        def finish(response: Any, error: BaseException | None) -> None:
            if error is not None and attempt < REQUEST_RETRIES:
                self._world.scheduler.call_later(30.0, lambda: self.request(key, attempt + 1))
            elif error is not None:
                self._world.unanswered.add(key)

        self.invoke({"bucket": BUCKET, "key": key}, [], {key: (None, 1)}, finish)

    def _invoke(
        self,
        request_id: str,
        event: Any,
        messages: list[Message],
        images: dict[str, tuple[str | None, int]],
        finish: Finish,
    ) -> Invocation:
        world = self._world
        environment = self._idle.pop() if self._idle else _Environment(world, f"process-{self._count}")
        process = environment.process
        invocation = Invocation(request_id, messages, world.scheduler.now + world.profile.timeout, images)
        world.invocations[request_id] = invocation
        if len(world.invocations) > MOST_INVOCATIONS:
            raise Endless(f"more than {MOST_INVOCATIONS} invocations: the same work comes again and again")
        for other in world.running.values():
            if not other.images.keys().isdisjoint(images):
                other.overlapped = invocation.overlapped = True
        world.running[process] = invocation
        if images and not world.published:
            invocation.disturbed.append("no model yet")
        if world.random.random() < world.profile.kill_rate and not world.all_is_well:
            process.steps_left = world.random.randint(1, 60)

        def over(response: Any, error: BaseException | None) -> None:
            environment.finish = None
            process.steps_left = None
            del world.running[process]
            if isinstance(error, Died):
                world.kills += 1
                invocation.killed = True
                invocation.disturbed.append("killed")
            world.say(f"{request_id} ends: {_told(response) if error is None else repr(error)}")
            if not process.dead:
                self._idle.append(environment)
            finish(response, error)

        environment.finish = over

        def time_is_up() -> None:
            if environment.finish is over:
                world.say(f"{request_id} runs into its timeout")
                if world.profile.calm:
                    world.violate(f"{request_id} ran into its timeout although nothing was slow but its images")
                process.kill()

        def work() -> None:
            try:
                if environment.application is None:
                    environment.application = self._start(process)
                response = environment.application.handle(event, Context(world, invocation))
            except Exception as error:  # noqa: BLE001 -- Lambda reports whatever the handler raises
                over(None, error)
            else:
                over(response, None)

        world.calls.add(("logs", "PutLogEvents", "log group"))
        world.say(f"{request_id} starts in {process.name}: {', '.join(images) or 'no images'}")
        world.scheduler.call_at(invocation.deadline, time_is_up)
        process.spawn(work)
        return invocation


class EventSource:
    """Takes batches from the queue, invokes the function and deletes what it reports done."""

    def __init__(self, world: World, service: LambdaService) -> None:
        self._world = world
        self._service = service
        self._busy = 0
        world.queue.on_message = lambda visible_at: world.scheduler.call_at(visible_at, self._look)
        world.calls.add(("sqs", "GetQueueAttributes", "queue"))

    def _look(self) -> None:
        visible = self._world.queue.next_visible()
        if (
            self._busy < self._world.profile.concurrency
            and visible is not None
            and visible <= self._world.scheduler.now
        ):
            self._busy += 1
            # The batch window.
            self._world.scheduler.call_later(self._world.random.random(), self._receive)

    def _receive(self) -> None:
        world = self._world
        world.calls.add(("sqs", "ReceiveMessage", "queue"))
        messages = world.queue.receive(world.profile.batch_size, world.scheduler.now, self._hidden)
        if not messages:
            self._busy -= 1
            return
        records = []
        images: dict[str, tuple[str | None, int]] = {}
        for message in messages:
            receives = len(message.receives) + 1
            records.append(_record(message, receives))
            for event in world.bodies.get(message.body, []):
                newest, fewest = images.get(event.key, ("", receives))
                if comparable(event.sequencer) > comparable(newest or ""):
                    newest = event.sequencer
                images[event.key] = (newest, min(fewest, receives))

        def finish(response: Any, error: BaseException | None) -> None:
            self._respond(invocation, response, error)

        invocation = self._service.invoke({"Records": records}, messages, images, finish)
        invocation.done = {
            event.key
            for message in messages
            for event in world.bodies.get(message.body, [])
            if images[event.key][0] == event.sequencer and images[event.key][1] > 1 and world.is_done(event)
        }
        for message in messages:
            message.receives.append(invocation)

    def _hidden(self, message: Message) -> float | None:
        again = self._world.random.random() < self._world.profile.redelivery_rate
        return self._world.random.random() * 3 if again else None

    def _steps_back(self, invocation: Invocation, event: Event) -> bool:
        """Whether the item of an event is of another attempt that had begun it only just before."""
        item = self._world.item(event.key)
        if item is None or ordering(item) != comparable(event.sequencer):
            return False
        other = self._world.invocations[item["request_id"]["S"]]
        began = invocation.deadline - self._world.profile.timeout
        return other is not invocation and other.deadline + _CLOCK_MARGIN > began

    def _respond(self, invocation: Invocation, response: Any, error: BaseException | None) -> None:
        world = self._world
        self._busy -= 1
        ids = {message.message_id for message in invocation.messages}
        again = ids
        if error is None:
            try:
                named = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
            except (KeyError, TypeError):
                world.violate(f"{invocation.request_id} answered {json.dumps(response)[:200]}")
                named = ids
            if named <= ids:
                again = named
            else:
                world.violate(f"{invocation.request_id} named messages that were not in its batch")
        elif not invocation.disturbed:
            world.violate(f"{invocation.request_id} failed with its whole batch: {error!r}")
        for message in invocation.messages:
            if message.message_id in again and error is None:
                invocation.overlapped |= any(
                    map(partial(self._steps_back, invocation), world.bodies.get(message.body, []))
                )
        for message_id in sorted(ids - again):
            world.calls.add(("sqs", "DeleteMessage", "queue"))
            if world.random.random() < (0.0 if world.repaired else world.profile.lost_delete_rate):
                invocation.disturbed.append("a delete was lost")
            else:
                world.queue.delete(message_id)
        self._look()


def _record(message: Message, receives: int) -> dict[str, Any]:
    return {
        "messageId": message.message_id,
        "receiptHandle": f"{message.message_id}/{receives}",
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(receives),
            "SentTimestamp": str(int(message.sent_at * 1000)),
            "ApproximateFirstReceiveTimestamp": str(int(message.sent_at * 1000)),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:bucketlens-queue",
        "awsRegion": "us-east-1",
    }


def _told(response: Any) -> str:
    if isinstance(response, dict) and "batchItemFailures" in response:
        return f"to be delivered again: {[failure['itemIdentifier'] for failure in response['batchItemFailures']]}"
    return f"answers {sorted(response)}"
