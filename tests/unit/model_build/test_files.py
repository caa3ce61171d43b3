from __future__ import annotations

from pathlib import Path

import pytest

from classifier.errors import UserError
from model_build.files import read_json, staged_folder, write_atomic


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with staged_folder(out) as staging:
        (staging / "a").write_bytes(b"1")
        assert not out.exists()
    assert (out / "a").read_bytes() == b"1"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_empty_folder_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with staged_folder(tmp_path / "out") as staging:
        (staging / "a").write_bytes(b"1")
    assert (tmp_path / "out" / "a").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_what_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staged_folder(tmp_path / "out") as staging:
        (staging / "a").write_bytes(b"1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"1")
    with pytest.raises(UserError, match="already there"), staged_folder(tmp_path):
        pytest.fail("the block must not run")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(UserError, match="already there"), staged_folder(tmp_path / "file"):
        pytest.fail("the block must not run")
    with pytest.raises(UserError, match="cannot be written"), staged_folder(tmp_path / "file" / "out"):
        pytest.fail("the block must not run")


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"the run record .*run\.json"):
        read_json(tmp_path / "run.json", "the run record")
