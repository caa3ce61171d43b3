"""What must hold when everything has come to rest."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.soak.schedule import HARMFUL, IDLE_BODIES, ODD_BODIES
from tests.soak.services import Message
from tests.soak.world import Event, World, agree, comparable, ordering, owes_document, removed

# What each kind of image ends as; harmful ones end among the dead letters until what they break is mended.
_ERROR_CODES = {
    "good": None,
    "corrupt": "image.corrupt",
    "empty": "image.empty",
    "large": "image.too_large",
    "costly": "image.too_costly",
    "poison": None,
    "bug": None,
}


def check(world: World) -> None:
    """Note every violation in ``world.violations``."""
    if world.queue.messages:
        world.violate(f"messages are left in the queue: {sorted(world.queue.messages)}")
        return
    for message in world.queue.dead:
        _check_dead_letter(world, message)
    dead = {event for message in world.queue.dead for event in world.bodies.get(message.body, [])}
    dead |= set(world.dead_requests)
    newest = {event.key: event for event in world.events}
    for key, event in newest.items():
        if event not in dead and key not in world.unanswered:
            _check_key(world, event)
        else:
            _check_claim(world, key)
            if world.profile.calm and key not in world.requested:
                _check_poison(world, event)
    _check_documents(world, {key for key, event in newest.items() if event in dead} | world.unanswered)
    if world.profile.lines:
        _check_lines(world)


def _check_dead_letter(world: World, message: Message) -> None:
    if message.body in ODD_BODIES:
        return
    if message.body in IDLE_BODIES:
        if not all(invocation.disturbed for invocation in message.receives):
            world.violate(f"{message.message_id} holds nothing to do and was dead-lettered")
        return
    events = world.bodies[message.body]
    if world.repaired:
        world.violate(f"{message.message_id} was dead-lettered after everything had been mended")
        return
    if any(image.kind in HARMFUL for event in events for image in world.history[event.key]):
        return
    # Who finds another delivery of the same event at work, or just dead, steps back.
    undisturbed = sum(not (invocation.disturbed or invocation.overlapped) for invocation in message.receives)
    overlapped = any(invocation.overlapped for invocation in message.receives)
    # An image that is done, and whose message came back all the same, has lost nothing.
    done = all(world.is_done(event) for event in events)
    if not done and (undisturbed > 1 or (world.profile.calm and not overlapped)):
        keys = ", ".join(event.key for event in events)
        world.violate(f"{message.message_id} ({keys}) was dead-lettered after {undisturbed} receives without a fault")


def _check_key(world: World, newest: Event) -> None:
    key, item = newest.key, world.item(newest.key)
    if item is None:
        world.violate(f"{key} has no item: lost")
        return
    if "unfinished" in item:
        world.violate(f"{key}: a claim was left although its message is gone")
        return
    if ordering(item) < comparable(newest.sequencer):
        world.violate(f"{key}: the item is of an older event than {newest.sequencer}")
    current = world.bucket.objects.get(key)
    if world.profile.removes and removed(item) is not (current is None):
        world.violate(f"{key} is {'gone' if current is None else 'there'}, and the item says: {_told(item)}")
        return
    if removed(item):
        if "expires_at" not in item:
            world.violate(f"{key}: the tombstone never ends")
        return
    if item["model_version"]["S"] not in world.published:
        world.violate(f"{key}: made by {item['model_version']['S']}, which was never published")
    if current is not None:
        image = world.images[current.data]
        if item.get("etag", {}).get("S") != current.etag.strip('"'):
            world.violate(f"{key}: the item tells of other content than what is there: {_told(item)}")
        elif current.version_id is not None and item.get("version_id", {}).get("S") != current.version_id:
            world.violate(f"{key}: the item tells of another version than what is there: {_told(item)}")
        elif item.get("error_code", {}).get("S") != _ERROR_CODES[image.kind] or (
            _ERROR_CODES[image.kind] is None and item.get("label", {}).get("S") != image.label
        ):
            world.violate(f"{key}: wrong outcome for a {image.kind} image: {_told(item)}")
    if owes_document(item) and (found := world.lines_of(item)) != 1:
        world.violate(f"{key}: {found} documents instead of one at {item['output_uri']['S']}: {_told(item)}")


def _check_claim(world: World, key: str) -> None:
    """An attempt that ended without a result has left no claim behind, unless taking it back failed as well."""
    item = world.item(key)
    if item is None or "unfinished" not in item:
        return
    invocation = world.invocations[item["request_id"]["S"]]
    if not invocation.killed and not any("Item" in what for what in invocation.disturbed):
        world.violate(f"{key}: a claim of {invocation.request_id}, which lived, was left: {_told(item)}")


def _check_poison(world: World, newest: Event) -> None:
    """After its last try, an image that kills the process is recorded as rejected, not only dead-lettered.

    Images of one message share its tries, so this is promised to those that came alone, as S3 sends them.
    """
    current = world.bucket.objects.get(newest.key)
    alone = any(world.bodies.get(message.body) == [newest] for message in world.queue.dead)
    if current is None or world.images[current.data].kind != "poison" or not alone:
        return
    item = world.item(newest.key)
    if item is None or item.get("error_code", {}).get("S") != "image.too_costly" or "unfinished" not in item:
        world.violate(f"{newest.key} killed every process that took it and is not recorded as rejected: {item}")


def _check_documents(world: World, dead: set[str]) -> None:
    """No result document is older than its item."""
    if world.profile.lines:
        return
    for name, document in world.documents():
        key = document["image"]["key"]
        item = world.item(key)
        if key not in dead and (item is None or not agree(item, document)):
            world.violate(f"{name} ({_short(document)}) is not what the item says: {item and _told(item)}")


def _check_lines(world: World) -> None:
    """No event has two lines; a request may add one."""
    lines: Counter[tuple[str, str]] = Counter()
    for _, document in world.documents():
        key = document["image"]["key"]
        sequencer, _ = world.invocations[document["request_id"]].images[key]
        if sequencer is not None and key not in world.requested:
            lines[key, sequencer] += 1
    for (key, sequencer), count in lines.items():
        if count > 1:
            world.violate(f"{key}: {count} lines for the event {sequencer}")


def _told(item: dict[str, Any]) -> str:
    names = ("status", "label", "error_code", "etag", "version_id", "sequencer", "request_id", "classified_at")
    return ", ".join(f"{name}={item[name]['S']}" for name in names if name in item)


def _short(document: dict[str, Any]) -> str:
    return f"{document['status']} {document['request_id']} {document['classified_at']}"
