"""What the harness reads of a handler's process, and the events that it makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.harness import ROOT, HandlerFailed, Host, source_tree, sqs_event
from classifier.events import Source, parse

WORKING = """
import os, time

def work(event, context):
    end = time.process_time() + event["own"]
    while time.process_time() < end:
        pass
    if (child := os.fork()) == 0:
        end = time.process_time() + event["child"]
        while time.process_time() < end:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    return {"id": context.aws_request_id, "left": context.get_remaining_time_in_millis()}

def grow(event, context):
    print("growing")
    kept = bytearray(event["bytes"])
    kept[::4096] = bytes(len(kept[::4096])).replace(b"\\0", b"x")
    time.sleep(0.2)

def fail(event, context):
    raise ValueError("of no use")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "subject.py").write_text(WORKING, encoding="utf-8")
    return tmp_path


def test_processor_time_of_children_that_have_ended_counts(folder: Path) -> None:
    with Host("subject:work", {}, [folder], core=-1) as host:
        assert 0 < host.start_cpu_seconds < 5
        first = host.invoke({"own": 0.1, "child": 0.2})
        second = host.invoke({"own": 0.0, "child": 0.0})
    # Ended children's time is told in hundredths of a second.
    assert 0.28 <= first.cpu_seconds <= 0.6
    assert second.cpu_seconds < first.cpu_seconds / 2
    assert first.answer["id"] != second.answer["id"]
    assert 800_000 < first.answer["left"] <= 900_000


def test_memory_at_its_peak_and_what_was_logged(folder: Path) -> None:
    with Host("subject:grow", {}, [folder], core=-1) as host:
        before = host.memory()
        assert host.peak_memory([{"bytes": 50_000_000}]) - before == pytest.approx(50_000_000, rel=0.2)
        assert host.logged_bytes() == len("growing\n")


@pytest.mark.parametrize(("handler", "reason"), [("subject:fail", "ValueError: of no use"), ("nothing", "nothing")])
def test_a_handler_that_fails_is_no_measurement(folder: Path, handler: str, reason: str) -> None:
    with pytest.raises(HandlerFailed, match=reason), Host(handler, {}, [folder], core=-1) as host:
        host.invoke({})


def test_the_functions_own_parser_reads_the_events() -> None:
    batch = parse(sqs_event(["incoming/a b+ü.jpg", "incoming/c.jpg"], sequence=7), "incoming/")
    assert batch.source is Source.SQS
    assert [image.key for image in batch.images] == ["incoming/a b+ü.jpg", "incoming/c.jpg"]
    assert {image.receive_count for image in batch.images} == {1}
    later = parse(sqs_event(["incoming/c.jpg"], sequence=8), "incoming/").images[0].sequencer
    assert later is not None and batch.images[1].sequencer is not None
    assert later > batch.images[1].sequencer


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_the_tree_of_a_commit_is_that_commits() -> None:
    with source_tree("HEAD") as tree:
        listed = subprocess.run(
            ["git", "ls-tree", "-r", "--name-only", "HEAD", "functions"], cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
        assert {"functions/classifier/app.py"} <= set(listed.splitlines())
        assert (tree / "functions" / "classifier" / "app.py").is_file()
    assert not tree.exists()
    with source_tree(None) as tree:
        assert tree == ROOT
