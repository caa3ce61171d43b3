"""The comparison against a naive one, resuming after an interruption anywhere, and a bound on memory."""

from __future__ import annotations

import itertools
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketlens.ledger import Kind, Ledger
from bucketlens.reconcile import Audit, Estimate, Scope, audit, begin, gather, repair
from classifier.errors import UserError
from tests.conftest import ROOT
from tests.unit.bucketlens.ledger_world import STACK, World, image_uri, time_text

NOW = 2_000_000_000.0
SETTLE = 900
OLD, NEW = "20260101T000000Z-00000000", "20260601T000000Z-00000000"


def examine(
    world: Any, state: Path, prefix: str = "incoming/", older_than: str | None = None, **begun: Any
) -> tuple[Audit, list[tuple[Kind, str]]]:
    scope = Scope(STACK, prefix, SETTLE, older_than)
    with Ledger.open(state) as ledger:
        begin(ledger, scope, NOW, **{"repair": False, "restart": False, **begun})
        gather(ledger, scope, world, world, lambda _: None)
        return audit(ledger, scope, NOW), list(ledger.differences())


def mend(world: Any, state: Path, prefix: str = "incoming/", older_than: str | None = None, now: float = NOW) -> int:
    scope = Scope(STACK, prefix, SETTLE, older_than)
    with Ledger.open(state) as ledger:
        begin(ledger, scope, now, repair=True, restart=False)
        gather(ledger, scope, world, world, lambda _: None)
        audit(ledger, scope, now)
        return repair(ledger, scope, world, lambda _: None)


def naive(world: World, prefix: str, older_than: str | None) -> list[tuple[str, str]]:
    """The differences, one image after the other, everything in memory."""
    settled = NOW - SETTLE
    found: list[tuple[str, str]] = []
    root = f"s3://{STACK.bucket}/"
    named = {item.get("output_uri", "").removeprefix(root) for item in world.items.values()}
    for key, (etag, modified) in world.objects.items():
        if not key.startswith(prefix) or key.endswith("/"):
            continue
        item = world.items.get(image_uri(key))
        if item is None:
            found.append(("settling" if modified > settled else "missing", key))
            continue
        classified = int(item["seconds"])
        output = item.get("output_uri", "").removeprefix(root)
        json = world.objects.get(output)
        here = output.startswith(STACK.output_prefix)
        kind = None
        if item.get("unfinished"):
            kind = "unfinished"
        elif item.get("etag") != etag:
            kind = "stale"
        elif here and (json is None or int(json[1]) < classified):
            kind = "without_json"
        if kind is not None and max(modified, classified) > settled:
            kind = "settling"
        if kind is None and older_than and item["model_version"] < older_than:
            kind = "older_model"
        if kind is None and output and not here:
            kind = "unchecked"
        if kind is not None:
            found.append((kind, key))
    for uri, item in world.items.items():
        key = uri.removeprefix(root)
        gone = item.get("error_code") == "image.not_found"
        if key.startswith(prefix) and key not in world.objects and not gone and int(item["seconds"]) <= settled:
            found.append(("orphaned_item", key))
    below = STACK.output_prefix + prefix.removeprefix(STACK.input_prefix)
    for key, (_, modified) in world.objects.items():
        image = STACK.input_prefix + key.removeprefix(STACK.output_prefix)[:-5]
        is_there = image in world.objects and not image.endswith("/")
        whole = prefix == STACK.input_prefix or not key.endswith(".jsonl")
        if key.startswith(below) and key not in named and not is_there and modified <= settled and whole:
            found.append(("orphaned_json", key.removeprefix(STACK.output_prefix)))
    return sorted(found)


NAMES = ["a.jpg", "a/b.jpg", "ä b+c.jpg", "dt=1/x.jpg", "s3:/x", "f/", "\x1b[31m.jpg", "\U0001f4f7.jpg"]
MOMENTS = st.sampled_from([NOW - 10_000, NOW - 5_000.5, NOW - 5_000, NOW - SETTLE - 1, NOW - 10])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World(page=draw(st.integers(1, 3)))
    for name in draw(st.sets(st.sampled_from(NAMES))):
        world.put(f"incoming/{name}", draw(st.sampled_from("xy")), draw(MOMENTS))
    for name in draw(st.sets(st.sampled_from(NAMES[:5] + NAMES[6:]))):
        moment = draw(MOMENTS)
        outputs = [f"predictions/{name}.json", "predictions/dt=2026-01-01/1.jsonl", f"elsewhere/{name}.json", None]
        output = draw(st.sampled_from(outputs))
        world.items[image_uri(f"incoming/{name}")] = {
            "etag": draw(st.sampled_from("xy")),
            "classified_at": time_text(moment),
            "model_version": draw(st.sampled_from([OLD, NEW])),
            "unfinished": draw(st.booleans()),
            "error_code": draw(st.sampled_from(["image.not_found", "image.corrupt"])),
            "seconds": str(int(moment)),
            **({} if output is None else {"output_uri": image_uri(output)}),
        }
    for name in draw(st.sets(st.sampled_from([*(f"{name}.json" for name in NAMES), "dt=2026-01-01/1.jsonl"]))):
        world.put(f"predictions/{name}", "j", draw(MOMENTS))
    return world


@settings(max_examples=100)
@given(worlds(), st.sampled_from(["incoming/", "incoming/a", "incoming/dt="]), st.sampled_from([None, NEW]))
def test_the_differences_are_those_of_a_naive_comparison(world: World, prefix: str, older_than: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found, differences = examine(world, Path(folder) / "state", prefix, older_than)
    assert sorted((str(kind), key) for kind, key in differences) == naive(world, prefix, older_than)
    images = [key for key in world.objects if key.startswith(prefix) and not key.endswith("/")]
    different = {key for kind, key in differences if kind not in (Kind.ORPHANED_ITEM, Kind.ORPHANED_JSON)}
    assert found.objects == len(images)
    assert found.in_order == len(set(images) - different)
    assert found.to_send == sum(kind.repairable for kind, _ in differences)
    assert found.closes == (found.to_send == 0)


def small_world(count: int = 40) -> World:
    """A world with some of every difference, in pages of 3."""
    world = World(page=3)
    for n in range(count):
        key = f"incoming/{n:03}.jpg"
        world.put(key, f"v{n}", NOW - 5000)
        if n % 4:
            world.classify(key, NOW - 4000)
        if n % 5 == 0:
            world.put(key, "overwritten", NOW - 3000)
        if n % 7 == 0:
            world.objects.pop(f"predictions/{n:03}.jpg.json", None)
        if n % 11 == 1:
            del world.objects[key]
    return world


class Interruption(BaseException):
    """As Ctrl-C, or a kill."""


def test_interrupted_at_any_call_it_resumes_to_the_same_answer_and_reads_nothing_twice(tmp_path: Path) -> None:
    world = small_world()
    calls = Counter[str]()
    world.before_call = lambda operation: calls.update([operation])
    whole, expected = examine(world, tmp_path / "whole")
    total = calls.total()
    assert calls["list_objects_v2"] > 20
    for stop in range(total):
        state = tmp_path / f"{stop}"
        countdown = itertools.count()
        calls.clear()

        def interrupt(operation: str, stop: int = stop, countdown: Any = countdown) -> None:
            calls.update([operation])
            if next(countdown) == stop:
                raise Interruption

        world.before_call = interrupt
        with pytest.raises(Interruption):
            examine(world, state)
        assert examine(world, state) == (whole, expected), stop
        # What was being read when it happened is read again: at most the page under way of each listing.
        assert calls.total() <= total + 8, stop


def test_a_repair_interrupted_anywhere_sends_every_image(tmp_path: Path) -> None:
    world = small_world(400)
    scope = Scope(STACK, "incoming/", SETTLE)
    wanted = {key for kind, key in examine(world, tmp_path / "audit")[1] if kind.repairable}
    assert len(wanted) > 100
    for stop in range(-(-len(wanted) // 10)):
        world.messages.clear()
        countdown = itertools.count()

        def interrupt(operation: str, stop: int = stop, countdown: Any = countdown) -> None:
            if operation == "send_message_batch" and next(countdown) == stop:
                raise Interruption

        world.before_call = interrupt
        with pytest.raises(Interruption):
            mend(world, tmp_path / f"{stop}")
        # Once a round of ten requests is through, the repair has begun, and is resumed however late.
        later = NOW + (7200 if stop >= 10 else 60)
        with Ledger.open(tmp_path / f"{stop}") as ledger:
            assert begin(ledger, scope, later, repair=True, restart=False)
        mend(world, tmp_path / f"{stop}", now=later)
        assert set(world.sent_keys()) == wanted
        assert len(world.sent_keys()) < len(wanted) + 100


def test_what_a_state_file_is_used_for(tmp_path: Path) -> None:
    scope = Scope(STACK, "incoming/", SETTLE)
    state = tmp_path / "state"
    examine(small_world(), state)

    def resumed(now: float, *, repair: bool = False, restart: bool = False, scope: Scope = scope) -> bool:
        with Ledger.open(state) as ledger:
            return begin(ledger, scope, now, repair=repair, restart=restart)

    assert resumed(NOW + 3600, repair=True), "the audit before a repair is the repair's"
    with pytest.raises(UserError, match="another file"):
        resumed(NOW, scope=Scope(STACK, "incoming/a", SETTLE))
    assert not resumed(NOW + 3601, repair=True), "too old to act upon"
    assert resumed(NOW + 3601 + 86400), "an interrupted listing is resumed within a day"
    assert not resumed(NOW + 3601 + 86401)
    assert not resumed(NOW + 3601 + 86401, restart=True)
    examine(small_world(), state, restart=True)
    assert not resumed(NOW), "a finished audit without a repair is made anew"


def test_other_questions_of_a_repair_are_compared_anew(tmp_path: Path) -> None:
    world = small_world()
    first, _ = examine(world, tmp_path / "state")
    again, _ = examine(world, tmp_path / "state", older_than=NEW, repair=True)
    assert again.counts[Kind.OLDER_MODEL] > 0 == first.counts[Kind.OLDER_MODEL]
    assert again.objects == first.objects


@pytest.mark.parametrize("content", [b"not a database, but notes of somebody's", b"SQLite format 3\0" + bytes(2000)])
def test_a_file_that_is_no_state_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes").write_bytes(content)
    with pytest.raises(UserError, match="notes"):
        Ledger.open(tmp_path / "notes")
    assert (tmp_path / "notes").read_bytes() == content


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "other")
    database.execute("CREATE TABLE precious (x)")
    database.close()
    with pytest.raises(UserError, match="something else"):
        Ledger.open(tmp_path / "other")


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "state"), pytest.raises(UserError, match="another process"):
        Ledger.open(tmp_path / "state")


def test_a_full_disk_is_one_line_and_what_was_read_stays(tmp_path: Path) -> None:
    world = small_world()
    whole, expected = examine(world, tmp_path / "whole")
    state = tmp_path / "state"
    scope = Scope(STACK, "incoming/", SETTLE)
    with Ledger.open(state) as ledger:
        begin(ledger, scope, NOW, repair=False, restart=False)
        ledger._database.execute("PRAGMA max_page_count = 1")  # SQLite takes the pages in use for the least
        with pytest.raises(UserError, match=r"state cannot be used.*full"):
            clients: Any = world
            gather(ledger, scope, clients, clients, lambda _: None)
            audit(ledger, scope, NOW)
    assert examine(world, state) == (whole, expected)


@pytest.mark.parametrize("wrong", [{"prefix": "predictions/"}, {"older_than": "yesterday"}])
def test_wrong_questions_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError):
        Scope(STACK, **{"prefix": "incoming/", "settle_seconds": 0, **wrong})  # type: ignore[arg-type]


def test_an_image_whose_documents_key_was_cut_is_in_order(tmp_path: Path) -> None:
    world = World()
    key = "incoming/" + "ä" * 500
    world.put(key, "v", NOW - 5000)
    output = "predictions/" + "ä" * 490 + "~0123456789abcdef.json"
    world.classify(key, NOW - 4000, output_uri=image_uri(output))
    world.put(output, "j", NOW - 4000)
    del world.objects["predictions/" + "ä" * 500 + ".json"]
    for prefix in ("incoming/", key[:40], key[:500]):
        found, differences = examine(world, tmp_path / str(len(prefix)), prefix)
        assert (found.objects, found.in_order, differences) == (1, 1, [])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.unit.bucketlens.test_reconcile import in_a_process;"
        "[print(in_a_process(int(n), Path(sys.argv[1]) / n)) for n in ('20000', '320000')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=280,
    )
    few, many = map(int, done.stdout.split())
    # SQLite's cache of 32 MB fills up, and nothing else.
    assert many - few < 64 * 1024, f"{few} KB, then {many} KB"


def in_a_process(count: int, state: Path) -> int:
    """Reconcile and repair ``count`` images, every other one missing; the most memory this process has had, in KB."""
    world: Any = Endless(count)
    assert mend(world, state) == count // 2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Endless:
    """Any number of images made up as they are listed, every other one classified; remembers nothing."""

    def __init__(self, count: int) -> None:
        self.count = count

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        step, end = (2, ".json") if request["Prefix"].startswith("predictions/") else (1, "")
        after = request.get("StartAfter", "").removesuffix(".json")
        numbers = range(int(after[-8:]) + step if after else 0, self.count, step)
        contents = [
            {
                "Key": f"{request['Prefix']}{n:08}{end}",
                "ETag": f'"{n:032x}"',
                "LastModified": "2026-01-01T00:00:00.000Z",
            }
            for n in numbers[:1000]
        ]
        return {"IsTruncated": len(numbers) > 1000, "Contents": contents}

    def scan(self, **request: Any) -> dict[str, Any]:
        step = 2 * request["TotalSegments"]
        after = request.get("ExclusiveStartKey", {}).get("image_uri", {}).get("S")
        numbers = range(int(after[-8:]) + step if after else 2 * request["Segment"], self.count, step)
        items = [
            {
                "image_uri": {"S": image_uri(f"incoming/{n:08}")},
                "etag": {"S": f"{n:032x}"},
                "classified_at": {"S": "2026-01-01T00:00:00.123Z"},
                "output_uri": {"S": image_uri(f"predictions/{n:08}.json")},
                "model_version": {"S": OLD},
            }
            for n in numbers[:1000]
        ]
        last = {"LastEvaluatedKey": {"image_uri": items[-1]["image_uri"]}} if len(numbers) > 1000 else {}
        return {"Items": items, **last}

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        return {"Successful": request["Entries"]}


@pytest.mark.slow
def test_100_000_images_with_lost_events_races_and_a_pause_end_with_one_current_outcome_each(tmp_path: Path) -> None:
    chance = random.Random(6)
    world = World()
    pause = (NOW - 50_000, NOW - 49_000)
    for n in range(100_000):
        key = f"incoming/{n % 97:02}/{n:06}.jpg"
        uploaded = NOW - 100_000 + n * 0.9
        world.put(key, f"{n:08}-first", uploaded)
        if chance.random() < 0.01 or pause[0] < uploaded < pause[1]:
            continue  # its event was dropped, or sent while nobody listened
        world.classify(key, uploaded + 3)
        if chance.random() < 0.01:
            # Overwritten in the race: the later event was lost, or the function died between item and JSON.
            world.put(key, f"{n:08}-second", uploaded + 4)
            if chance.random() < 0.5:
                written = world.objects[f"predictions/{key.removeprefix('incoming/')}.json"]
                world.classify(key, uploaded + 5)
                world.objects[f"predictions/{key.removeprefix('incoming/')}.json"] = written
    assert len(world.objects) > 190_000
    found, differences = examine(world, tmp_path / "state")
    images = {key for key in world.objects if key.startswith("incoming/")}
    assert found.objects == len(images) == 100_000
    assert found.counts[Kind.MISSING] > 1900
    assert min(found.counts[Kind.STALE], found.counts[Kind.WITHOUT_JSON]) > 400
    assert mend(world, tmp_path / "state") == found.to_send == sum(kind.repairable for kind, _ in differences)
    assert world.consume(NOW + 60) == found.to_send
    assert {uri.removeprefix(image_uri("")) for uri in world.items} == images
    for key in images:
        item = world.items[image_uri(key)]
        assert item["etag"] == world.objects[key][0]
        assert time_text(world.objects[item["output_uri"].removeprefix(image_uri(""))][1]) >= item["classified_at"][:19]
    closed, rest = examine(world, tmp_path / "again")
    assert (closed.closes, closed.in_order, rest) == (True, 100_000, [])


def test_the_estimate_is_proportional_and_of_the_expected_size() -> None:
    million = Estimate.of(1_000_000, {})
    assert 5 < million.dollars < 20
    assert Estimate.of(2_000_000, {}).dollars == pytest.approx(2 * million.dollars, rel=1e-3)
    assert Estimate.of(1_000_000, {"OutputMode": "jsonl"}).dollars < million.dollars - 4
    few, half = ({"MaximumConcurrency": "2", "MemorySize": memory} for memory in ("1769", "885"))
    assert 3_600 < Estimate.of(1_000_000, few).seconds < 24 * 3_600
    assert Estimate.of(1_000_000, half).seconds > 1.6 * Estimate.of(1_000_000, few).seconds
    assert Estimate.of(1_000_000, {"MaximumConcurrency": "1000", "BatchSize": "100"}).seconds > 1_000_000 / 3_500
    assert Estimate.of(1_000_000, {"BatchSize": "100"}).dollars < million.dollars


@pytest.mark.parametrize("removes", [False, True])
def test_results_of_deleted_images_are_sent_where_they_are_to_go(tmp_path: Path, *, removes: bool) -> None:
    world: Any = World(page=3)
    gone = {"etag": "x", "classified_at": time_text(NOW - 5000), "model_version": OLD, "seconds": str(int(NOW - 5000))}
    world.items[image_uri("incoming/item.jpg")] = {**gone, "output_uri": image_uri("predictions/item.jpg.json")}
    world.items[image_uri("incoming/told.jpg")] = {**gone, "error_code": "image.not_found"}
    for name in ("document.jpg.json", "dt=2026-01-01/1.jsonl", f"{'n' * 1000}~0123456789abcdef.json"):
        world.put(f"predictions/{name}", "j", NOW - 5000)
    scope = Scope(replace(STACK, parameters={"RemoveDeleted": str(removes).lower()}), "incoming/", SETTLE)
    with Ledger.open(tmp_path / "state") as ledger:
        begin(ledger, scope, NOW, repair=True, restart=False)
        gather(ledger, scope, world, world, lambda _: None)
        found = audit(ledger, scope, NOW)
        assert repair(ledger, scope, world, lambda _: None) == found.to_send
    assert (found.counts[Kind.ORPHANED_ITEM], found.counts[Kind.ORPHANED_JSON]) == (2 if removes else 1, 3)
    expected = {"incoming/document.jpg", "incoming/item.jpg", "incoming/told.jpg"} if removes else set()
    assert set(world.sent_keys()) == expected
