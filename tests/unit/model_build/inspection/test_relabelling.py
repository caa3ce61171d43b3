"""Decisions -> moved files and back: nothing is overwritten, lost, or moved out of the data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifier.errors import UserError
from model_build.data.dataset import scan
from model_build.inspection.relabelling import FOLDER, FileMove, apply_decisions, undo_decisions

HEAD = "photo,label,likely,decision,to\n"
FILES = (
    *(f"train/{label}/{number}.jpg" for label in ("cat", "dog") for number in range(3)),
    "train/cat/deep/0.jpg",
    "test/cat/9.jpg",
    "test/dog/9.jpg",
    "train/owl/=1.jpg",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data", FILES)


def write(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the photo {name}")
    return root


def contents(root: Path) -> dict[str, str]:
    """Every file but the journals."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".json")
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


def csv_file(data: Path, rows: str, head: str = HEAD) -> Path:
    path = data.parent / "decisions.csv"
    path.write_text(head + rows)
    return path


def journals(data: Path) -> list[str]:
    return [path.name for path in (data / FOLDER).glob("*.json")]


def test_photos_go_to_their_new_class_within_their_split(data: Path) -> None:
    rows = (
        "train/cat/0.jpg,cat,dog,move,\ntrain/cat/deep/0.jpg,cat,dog,MOVE,owl\ntest/cat/9.jpg,cat,owl,move,\n"
        "train/dog/1.jpg,dog,cat,remove,\ntrain/dog/2.jpg,dog,cat,keep,\ntrain/cat/1.jpg,cat,dog,,\n"
    )
    moves = apply_decisions(data, csv_file(data, rows))
    assert moves == (
        FileMove("train/cat/0.jpg", "train/dog/0-1.jpg"),
        FileMove("train/cat/deep/0.jpg", "train/owl/deep/0.jpg"),
        FileMove("test/cat/9.jpg", "test/owl/9.jpg"),
        FileMove("train/dog/1.jpg", f"{FOLDER}/removed/train/dog/1.jpg"),
    )
    found = contents(data)
    assert {found[move.target] for move in moves} == {f"the photo {move.source}" for move in moves}
    assert found["train/dog/0.jpg"] == "the photo train/dog/0.jpg"
    folder = scan(data)
    assert folder.labels == ("cat", "dog", "owl")
    assert len(folder.photos) == len(FILES) - 1


def test_classes_without_splits_above_them_and_in_a_doubled_folder(tmp_path: Path) -> None:
    flat = write(tmp_path / "flat", ("cat/1.jpg", "dog/1.jpg"))
    assert apply_decisions(flat, csv_file(flat, "cat/1.jpg,cat,dog,move,\n")) == (FileMove("cat/1.jpg", "dog/1-1.jpg"),)
    doubled = write(tmp_path / "doubled", ("seg_train/seg_train/cat/1.jpg", "seg_train/seg_train/dog/2.jpg"))
    assert apply_decisions(doubled, csv_file(doubled, "seg_train/seg_train/cat/1.jpg,cat,dog,move,\n")) == (
        FileMove("seg_train/seg_train/cat/1.jpg", "seg_train/seg_train/dog/1.jpg"),
    )


def test_two_photos_that_would_get_one_name_get_two(data: Path) -> None:
    write(data, ("train/dog/N.JPG", "train/cat/n.jpg"))
    moves = apply_decisions(data, csv_file(data, "train/dog/N.JPG,dog,owl,move,\ntrain/cat/n.jpg,cat,owl,move,\n"))
    assert [move.target for move in moves] == ["train/owl/N.JPG", "train/owl/n-1.jpg"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.dictionaries(st.integers(0, 9), st.sampled_from(["cat", "dog", "owl", "remove"])), max_size=4))
def test_undo_brings_back_everything_whatever_was_decided(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[dict[int, str]]
) -> None:
    data = write(tmp_path_factory.mktemp("case") / "data", FILES)
    before = [contents(data)]
    for decided in rounds:
        photos, labels = scan(data).photos, scan(data).labels
        rows = [
            f"{photos[place].name},{photos[place].label},,{'remove' if to == 'remove' else 'move'},{to}\n"
            for place, to in decided.items()
            if place < len(photos) and to != photos[place].label and to in (*labels, "remove")
        ]
        # Without any photo it would be no data set.
        rows = [row.replace("remove,remove", "remove,") for row in rows][: len(photos) - 1]
        if apply_decisions(data, csv_file(data, "".join(rows))):
            assert sorted(contents(data).values()) == sorted(before[-1].values())
            before.append(contents(data))
    while len(before) > 1:
        assert contents(data) == before.pop()
        undo_decisions(data)
    assert contents(data) == before[0]
    with pytest.raises(UserError, match="nothing to undo"):
        undo_decisions(data)


def test_a_dry_run_moves_nothing(data: Path) -> None:
    rows = csv_file(data, "train/cat/0.jpg,cat,dog,move,\n")
    planned = apply_decisions(data, rows, dry_run=True)
    assert contents(data) == contents(write(data.parent / "same", FILES))
    assert not (data / FOLDER).exists()
    assert apply_decisions(data, rows) == planned
    moved = contents(data)
    assert undo_decisions(data, dry_run=True) == (FileMove("train/dog/0-1.jpg", "train/cat/0.jpg"),)
    assert contents(data) == moved


def test_a_spreadsheet_may_have_written_the_file(data: Path) -> None:
    path = data.parent / "decisions.csv"
    text = "photo;label;likely;decision;to\r\n'train/owl/=1.jpg;owl;cat;move;\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert apply_decisions(data, path) == (FileMove("train/owl/=1.jpg", "train/cat/=1.jpg"),)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("train/cat/0.jpg,cat,dog,delete,\n", "line 2: the decision is 'delete'; it must be keep, move or remove"),
        ("train/cat/0.jpg,cat,dog,keep,\ntrain/cat/7.jpg,cat,dog,move,\n", "line 3: there is no photo"),
        ("../secret.jpg,cat,dog,remove,\n", "line 2: there is no photo '../secret.jpg'"),
        ("/etc/passwd,cat,dog,move,\n", "line 2: there is no photo '/etc/passwd'"),
        ("train/cat/0.jpg,cat,dog,move,../..\n", "line 2: there is no class '../..'; the classes are cat, dog, owl"),
        ("train/cat/0.jpg,cat,dog,move,cat\n", "already"),
        ("train/cat/0.jpg,dog,cat,move,\n", "has the label 'cat' and not 'dog'; the photos have changed since"),
        ("train/cat/0.jpg,cat,dog,move,\ntrain/cat/0.jpg,cat,,remove,\n", "line 3: train/cat/0.jpg has been decided"),
        ('train/cat/0.jpg,cat,dog,"move,\n', "is no CSV file"),
        ("train/cat/0.jpg,cat,dog,move,,more\n", "line 2: it has more than 5 columns"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_moved(data: Path, rows: str, message: str) -> None:
    (data.parent / "secret.jpg").write_text("not a photo of the data")
    before = contents(data)
    with pytest.raises(UserError) as refused:
        apply_decisions(data, csv_file(data, rows))
    assert message in str(refused.value)
    assert contents(data) == before


def test_files_that_are_no_decisions(data: Path) -> None:
    with pytest.raises(UserError, match="has no column 'likely'; line 1 must be photo,label,likely,decision,to"):
        apply_decisions(data, csv_file(data, "", head="photo,label,decision,to\n"))
    path = data.parent / "decisions.csv"
    path.write_bytes(b"photo,label,likely,decision,to\n\xff")
    with pytest.raises(UserError, match="is not UTF-8"):
        apply_decisions(data, path)
    with pytest.raises(UserError, match="cannot be read"):
        apply_decisions(data, data / "none.csv")
    with pytest.raises(UserError, match=r"in a local folder only, and s3://b/data/ is in S3"):
        apply_decisions("s3://b/data/", path)


def interrupted(data: Path) -> Path:
    """Decisions about three photos, applied to one of them when the process ended."""
    rows = "".join(f"train/cat/{number}.jpg,cat,owl,move,\n" for number in range(3))
    path = csv_file(data, rows)
    moves = apply_decisions(data, path)
    for move in moves[1:]:
        (data / move.target).rename(data / move.source)
    (journal,) = (data / FOLDER).glob("*.json")
    journal.rename(journal.with_name(journal.name.replace(".json", ".begun.json")))
    return path


def test_an_interrupted_apply_is_finished_by_the_same_call(data: Path) -> None:
    apply_decisions(data, interrupted(data))
    assert [f"train/owl/{number}.jpg" in contents(data) for number in range(3)] == [True] * 3
    assert [name.endswith(".begun.json") for name in journals(data)] == [False]


def test_an_interrupted_apply_can_be_undone(data: Path) -> None:
    interrupted(data)
    undo_decisions(data)
    assert contents(data) == contents(write(data.parent / "same", FILES))


def test_other_decisions_wait_until_the_interrupted_ones_are_finished(data: Path) -> None:
    interrupted(data)
    before = contents(data)
    with pytest.raises(UserError, match="applied in part"):
        apply_decisions(data, csv_file(data, "train/dog/0.jpg,dog,cat,remove,\n"))
    assert contents(data) == before


def test_undo_refuses_where_it_would_overwrite_or_miss_a_file(data: Path) -> None:
    apply_decisions(data, csv_file(data, "train/cat/0.jpg,cat,owl,move,\ntrain/cat/1.jpg,cat,owl,move,\n"))
    write(data, ("train/cat/0.jpg",))
    (data / "train/owl/1.jpg").unlink()
    before = contents(data)
    with pytest.raises(UserError) as refused:
        undo_decisions(data)
    assert "train/cat/0.jpg is there again" in str(refused.value)
    assert "train/owl/1.jpg is gone" in str(refused.value)
    assert contents(data) == before


def test_a_name_that_is_taken_after_planning_is_not_overwritten(data: Path) -> None:
    path = interrupted(data)
    write(data, ("train/owl/2.jpg",))
    before = contents(data)["train/owl/2.jpg"]
    with pytest.raises(UserError, match="taken meanwhile"):
        apply_decisions(data, path)
    assert contents(data)["train/owl/2.jpg"] == before
    assert "train/cat/2.jpg" in contents(data)


@pytest.mark.parametrize("name", ["../outside.jpg", "/tmp/outside.jpg"])
def test_a_journal_that_names_other_places_is_refused(data: Path, name: str) -> None:
    (data / FOLDER).mkdir()
    moves = [{"source": name, "target": "train/cat/0.jpg"}]
    (data / FOLDER / "20260101T000000Z.json").write_text(json.dumps({"schema_version": "1", "moves": moves}))
    with pytest.raises(UserError, match="outside of the data"):
        undo_decisions(data)
    assert (data / "train/cat/0.jpg").is_file()


@pytest.mark.parametrize(
    "document", [{"moves": [{"source": 3}]}, {"moves": 7}, {"moves": [{"source": 1, "target": 2}]}]
)
def test_a_damaged_journal_is_refused(data: Path, document: object) -> None:
    (data / FOLDER).mkdir()
    (data / FOLDER / "20260101T000000Z.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="damaged"):
        undo_decisions(data)
