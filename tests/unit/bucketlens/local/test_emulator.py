"""What the emulator's answers mean, and where the emulator comes from."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bucketlens.local.emulator import Emulator, FunctionError, free_ports, parse_answer
from bucketlens.local.files import EMULATOR_REQUIREMENTS
from bucketlens.local.rie import extract, find_emulator, obtain
from classifier.errors import UserError


@pytest.mark.parametrize(
    ("body", "value"), [(b'{"a": 1}', {"a": 1}), (b"null", None), (b"", None), (b'"text"', "text"), (b"[1]", [1])]
)
def test_a_good_answer_is_the_return_value(body: bytes, value: Any) -> None:
    assert parse_answer(200, body) == value


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (200, b'{"errorMessage": "bad", "errorType": "ValueError", "stackTrace": []}', "ValueError", "bad"),
        (200, b'{"errorMessage": "bad"}', "Runtime.Unknown", "bad"),
        (200, b"Task timed out after 3.00 seconds", "Sandbox.Timedout", "Task timed out after 3.00 seconds"),
        (200, b"<html>", "Runtime.InvalidResponse", "<html>"),
        (502, b'{"errorMessage": "gone", "errorType": "Runtime.ExitError"}', "Runtime.ExitError", "gone"),
        (502, b"", "Runtime.ExitError", "HTTP 502"),
    ],
)
def test_every_other_answer_is_an_error(status: int, body: bytes, kind: str, reason: str) -> None:
    with pytest.raises(FunctionError) as raised:
        parse_answer(status, body)
    assert (raised.value.type, raised.value.reason) == (kind, reason)
    assert str(raised.value) == f"{kind}: {reason}"


def test_free_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5


def test_an_emulator_that_was_not_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(FunctionError, match="not running"):
        Emulator(tmp_path, {}, 3, 128).invoke({})


def wheel(path: Path, member: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"#!binary")
    return path


def test_the_emulator_is_taken_out_of_its_wheel(tmp_path: Path) -> None:
    destination = tmp_path / "bin" / "aws-lambda-rie"
    extract(wheel(tmp_path / "a.whl", "samcli/rie"), "samcli/rie", destination)
    assert destination.read_bytes() == b"#!binary"
    assert destination.stat().st_mode & 0o111 == 0o111
    assert list(destination.parent.iterdir()) == [destination]


def test_a_wheel_without_emulator_leaves_nothing(tmp_path: Path) -> None:
    destination = tmp_path / "bin" / "aws-lambda-rie"
    with pytest.raises(UserError, match=r"a\.whl holds no samcli/rie"):
        extract(wheel(tmp_path / "a.whl", "other"), "samcli/rie", destination)
    assert list(destination.parent.iterdir()) == []


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    destination = tmp_path / "aws-lambda-rie"
    destination.write_bytes(b"mine")
    destination.chmod(0o755)
    assert obtain(destination, tmp_path / "no-such-requirements.txt") is False
    assert destination.read_bytes() == b"mine"


def test_the_wheel_is_pinned_with_its_hash() -> None:
    pinned = re.findall(
        r"^aws-sam-cli==[\d.]+ \\\n    --hash=sha256:[0-9a-f]{64}$", EMULATOR_REQUIREMENTS.read_text(), re.M
    )
    assert len(pinned) == 1


def test_a_missing_emulator_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKETLENS_RIE", str(tmp_path / "rie"))
    with pytest.raises(UserError, match=r"rie is missing or not executable \(BUCKETLENS_RIE names it\)"):
        find_emulator()
