"""The cache: what is known is not read again, what has changed is, and a useless cache costs only time."""

from __future__ import annotations

import os
from pathlib import Path

from model_build.inspection.facts import FactsCache, Stamp
from model_build.inspection.inspection import Inspection, inspect
from model_build.inspection.sheets import make_sheets
from tests.unit.model_build.inspection.scenes import encoded, inspected, scene, scenes, write


def run(root: Path, database: Path) -> tuple[Inspection, str | None]:
    with FactsCache(database) as cache:
        return inspect("data", root, cache), cache.trouble


def test_a_second_inspection_reads_nothing_and_finds_the_same(tmp_path: Path) -> None:
    root = write(tmp_path / "data", scenes({"a": 5, "b": 5}) | {"a/broken.jpg": b"\xff\xd8\xff"})
    first, _ = run(root, tmp_path / "kept" / "facts.sqlite3")
    second, trouble = run(root, tmp_path / "kept" / "facts.sqlite3")
    assert (first.cached, second.cached, trouble) == (0, 11, None)
    assert second.evidence == first.evidence
    assert second.findings == first.findings


def test_a_changed_file_is_read_again_and_a_vanished_one_is_forgotten(tmp_path: Path) -> None:
    root = write(tmp_path / "data", scenes({"a": 3, "b": 3}))
    database = tmp_path / "facts.sqlite3"
    run(root, database)
    changed = root / "a" / "000.png"
    before = changed.stat()
    changed.write_bytes(encoded(scene(77, (50, 70))))
    (root / "b" / "000.png").unlink()
    inspection, _ = run(root, database)
    assert inspection.cached == 4
    assert inspection.evidence.photos[0].measured.width == 50
    with FactsCache(database) as cache:
        known = cache.facts_below(root)
    assert len(known) == 5
    assert Stamp(str(changed), before.st_mtime_ns, before.st_size) not in known


def test_the_same_size_and_another_time_is_another_file(tmp_path: Path) -> None:
    root = write(tmp_path / "data", scenes({"a": 2, "b": 2}))
    database = tmp_path / "facts.sqlite3"
    run(root, database)
    os.utime(root / "a" / "000.png", ns=(1, 1))
    assert run(root, database)[0].cached == 3


def test_folders_whose_names_begin_alike_do_not_meet(tmp_path: Path) -> None:
    database = tmp_path / "facts.sqlite3"
    for name in ("data", "data-2", "data0"):
        run(write(tmp_path / name, scenes({"a": 2, "b": 2})), database)
    assert all(run(tmp_path / name, database)[0].cached == 4 for name in ("data", "data-2", "data0"))


def test_a_damaged_cache_is_begun_anew(tmp_path: Path) -> None:
    root = write(tmp_path / "data", scenes({"a": 2, "b": 2}))
    database = tmp_path / "facts.sqlite3"
    database.write_bytes(b"this is no database, and longer than a header of one has to be" * 20)
    inspection, trouble = run(root, database)
    assert (inspection.cached, trouble) == (0, None)
    assert run(root, database)[0].cached == 4


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    root = write(tmp_path / "data", scenes({"a": 2, "b": 2}))
    (tmp_path / "file").write_bytes(b"")
    inspection, trouble = run(root, tmp_path / "file" / "facts.sqlite3")
    assert len(inspection.evidence.photos) == 4
    assert trouble is not None
    assert "read all files again" in trouble


def test_thumbnails_are_bounded_and_keep_their_shape(tmp_path: Path) -> None:
    files = scenes({"a": 30, "b": 3}) | {"b/long.png": scene(99, (600, 60))}
    inspection = inspected(tmp_path / "data", files)
    with FactsCache(tmp_path / "facts.sqlite3") as cache:
        sheets = make_sheets(inspection, cache)
        again = make_sheets(inspection, cache)
    assert {label: len(photos) for label, photos in sheets.classes.items()} == {"a": 24, "b": 4}
    assert again == sheets
    long = next(photo for photo in sheets.classes["b"] if photo.name == "b/long.png")
    thumbnail = sheets.pictures[long.measured.sha256]
    assert (thumbnail.width, thumbnail.height) == (112, 11)
    assert max(len(one.data) for one in sheets.pictures.values()) < 8_000


def test_a_photo_that_vanishes_before_it_is_drawn_is_left_out(tmp_path: Path) -> None:
    inspection = inspected(tmp_path, scenes({"a": 3, "b": 3}))
    (tmp_path / "a" / "001.png").unlink()
    with FactsCache(None) as cache:
        sheets = make_sheets(inspection, cache)
    assert [photo.name for photo in sheets.classes["a"]] != []
    assert "a/001.png" not in {photo.name for photo in sheets.classes["a"]}
