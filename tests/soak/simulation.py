"""Runs the schedule of one seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.soak.invariants import check
from tests.soak.lambda_service import Application, EventSource, LambdaService
from tests.soak.model import publish
from tests.soak.schedule import ODD_BODIES, TEST_EVENT, Action, Delete, Odd, Promote, Put, Request, draw_actions
from tests.soak.scheduler import Process
from tests.soak.world import Event, World


@dataclass(frozen=True)
class Report:
    """What became of one schedule."""

    seed: int
    violations: tuple[str, ...]
    trace: tuple[str, ...]
    calls: frozenset[tuple[str, str, str]]
    counts: dict[str, int]
    digest: int
    """Equal for equal runs."""


def run(seed: int, start: Callable[[World, Process], Application], *, tracing: bool = False) -> Report:
    """Play a seed's schedule to its end and check what stands then.

    Args:
        start: makes the application in a simulated process.
    """
    world = World(seed, tracing=tracing)
    world.say(str(world.profile))
    world.scheduler.call_at(world.profile.first_model_at, partial(publish, world, "20261119T101500Z"))
    service = LambdaService(world, lambda process: start(world, process))
    EventSource(world, service)
    # S3 tests a notification when it is set up.
    world.queue.send(TEST_EVENT, 0.0)
    outside = _Outside(world, service)
    actions = draw_actions(world.random, world.profile)
    for moment, action in actions:
        world.scheduler.call_at(moment, partial(outside.act, action))
    world.scheduler.call_at(actions[-1][0], outside.end)
    world.scheduler.run()
    check(world)
    redriven = redrive(world)
    world.scheduler.run()
    check(world)
    return Report(
        seed,
        tuple(world.violations),
        tuple(world.trace or ()),
        frozenset(world.calls),
        {
            "events": len(world.events),
            # Every event once, and every direct invocation.
            "needed": len(world.events) + sum(world.requested.values()),
            "invocations": len(world.invocations),
            "kills": world.kills,
            "fetches": world.fetches,
            "classifications": world.classifications,
            "disturbed": sum(len(invocation.disturbed) for invocation in world.invocations.values()),
            "redriven": redriven,
            "deferrals": world.deferrals,
            "steps": world.scheduler.steps,
        },
        zlib.crc32(repr((world.scheduler.now, world.scheduler.steps, world.table.items)).encode()),
    )


def redrive(world: World) -> int:
    """What was wrong is mended, and what lies among the dead letters goes back to the queue, with new tries.

    Returns:
        How many messages.
    """
    world.say("everything is mended; the dead letters are redriven")
    world.repaired = True
    bodies = [message.body for message in world.queue.dead if message.body not in ODD_BODIES]
    bodies += [world.notify([event]) for event in world.dead_requests]
    world.queue.dead.clear()
    world.dead_requests.clear()
    for body in bodies:
        world.queue.send(body, world.scheduler.now)
    return len(bodies)


class _Outside:
    """People who put, delete and ask, and S3, which tells the queue of it: late, twice, and out of order."""

    def __init__(self, world: World, service: LambdaService) -> None:
        self._world = world
        self._service = service
        self._held: list[Event] = []

    def act(self, action: Action) -> None:
        world = self._world
        match action:
            case Put(key, image):
                self._notify(world.put(key, image))
            case Delete(key, version):
                event = world.delete(key, version)
                if world.profile.removes:
                    self._notify(event)
            case Request(key):
                self._service.request(key)
            case Odd(body):
                world.queue.send(body, world.scheduler.now)
            case Promote(stamp):
                publish(world, stamp)

    def end(self) -> None:
        """What S3 has still to tell is told."""
        if self._held:
            self._send(self._held)

    def _notify(self, event: Event) -> None:
        random = self._world.random
        if random.random() < self._world.profile.asynchronous_rate:
            self._world.scheduler.call_later(self._delay(), lambda: self._service.invoke_asynchronously([event]))
            return
        self._held.append(event)
        if random.random() < 0.85:
            events, self._held = self._held, []
            self._send(events)
            if random.random() < self._world.profile.duplicate_rate:
                self._send(events)

    def _send(self, events: list[Event]) -> None:
        world = self._world
        world.queue.send(world.notify(events), world.scheduler.now, self._delay())

    def _delay(self) -> float:
        random = self._world.random
        late = random.random() < self._world.profile.late_rate
        return random.uniform(1, 600) if late else random.expovariate(1.0)
