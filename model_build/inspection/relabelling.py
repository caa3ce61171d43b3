"""Decisions about labels, from a CSV file -> photos moved between class folders, and back again.

What is to be moved is written to a journal first, ``DATA/.bucketlens-doctor/<time>.json``, so that an interrupted move
can be finished and a finished one undone. Removed photos go to a folder beside the journals. Hidden folders are not
read as classes (:func:`model_build.data.dataset.scan`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from classifier.errors import UserError
from model_build.data.dataset import Photo, PhotoFolder, scan
from model_build.data.remote import is_remote
from model_build.files import json_bytes, read_bytes, read_json, write_atomic

COLUMNS = ("photo", "label", "likely", "decision", "to")
FOLDER = ".bucketlens-doctor"
KEEP, MOVE, REMOVE = "keep", "move", "remove"

_REMOVED = "removed"
_BEGUN, _DONE = ".begun.json", ".json"
_ERRORS_SHOWN = 10


@dataclass(frozen=True)
class FileMove:
    """A file of a data set that changes its place; both names are relative to the data set's folder."""

    source: str
    target: str


def apply_decisions(data: str | Path, decisions: Path, *, dry_run: bool = False) -> tuple[FileMove, ...]:
    """Move photos as a CSV file with the columns photo, label, likely, decision and to says.

    ``keep``, or nothing, leaves a photo; ``move`` puts it into the class folder ``to``, or ``likely`` where ``to`` is
    empty, of its own split; ``remove`` takes it out of the data set. A name that is taken gets a number. The same call
    finishes what was interrupted.

    Raises:
        UserError: a row is wrong (then nothing is moved), the data is not a local folder, or a file cannot be moved.

    Example: ``apply_decisions("photos", Path("decisions.csv"))``
    """
    root = _local(data)
    content = read_bytes(decisions, "the decisions")
    begun = next(_journals(root, _BEGUN), None)
    digest = hashlib.sha256(content).hexdigest()
    if begun:
        if read_json(begun, "the journal").get("decisions") != digest:
            raise UserError(
                f"{root} has decisions that were applied in part (journal {begun});"
                " apply the same file again to finish, or undo it (--undo)"
            )
        moves = _read_journal(begun)
    else:
        moves = _planned(root, scan(root), _rows(content, decisions), decisions)
    if dry_run or not moves:
        return moves
    journal = begun or root / FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}{_BEGUN}"
    document = {"schema_version": "1", "decisions": digest, "moves": [asdict(move) for move in moves]}
    try:
        journal.parent.mkdir(exist_ok=True)
        write_atomic(journal, json_bytes(document))
    except OSError as error:
        raise UserError(f"nothing was moved: the journal {journal} cannot be written: {error.strerror}") from None
    try:
        _perform(root, moves)
        journal.rename(_finished(journal))
    except OSError as error:
        raise UserError(_failed(error, f"apply {decisions} again to finish, or undo it (--undo)")) from None
    return moves


def undo_decisions(data: str | Path, *, dry_run: bool = False) -> tuple[FileMove, ...]:
    """Bring back what the last :func:`apply_decisions` moved, and return these moves. The same call finishes what was
    interrupted; after it, the apply before that is the last one.

    Raises:
        UserError: there is nothing to undo, a file is no longer where it was moved, its old place is taken (then
            nothing is moved), or a file cannot be moved.

    Example: ``undo_decisions("photos")``
    """
    root = _local(data)
    journal = max((*_journals(root, _BEGUN), *_journals(root, _DONE)), key=lambda path: path.name, default=None)
    if journal is None:
        raise UserError(f"nothing to undo: no decisions have been applied to {root}")
    back = tuple(FileMove(move.target, move.source) for move in reversed(_read_journal(journal)))
    wrong = [
        f"{move.source} is gone" if not os.path.lexists(root / move.target) else f"{move.target} is there again"
        for move in back
        if os.path.lexists(root / move.source) == os.path.lexists(root / move.target)
    ]
    if wrong:
        raise UserError(
            _listed("the decisions cannot be undone", wrong) + f"\nput that right, or delete the journal {journal}"
        )
    if not dry_run:
        try:
            _perform(root, back)
            journal.unlink()
        except OSError as error:
            raise UserError(_failed(error, "undo again (--undo) to finish")) from None
    return back


def _local(data: str | Path) -> Path:
    if is_remote(str(data)):
        raise UserError(f"photos can be moved in a local folder only, and {data} is in S3; download it first")
    return Path(data)


def _journals(root: Path, suffix: str) -> Iterator[Path]:
    folder = root / FOLDER
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    return (path for path in names if path.name.endswith(suffix) and path.name.endswith(_BEGUN) == (suffix == _BEGUN))


def _finished(journal: Path) -> Path:
    return journal.with_name(journal.name.removesuffix(_BEGUN) + _DONE)


def _read_journal(path: Path) -> tuple[FileMove, ...]:
    found = read_json(path, "the journal").get("moves")
    try:
        moves = tuple(FileMove(one["source"], one["target"]) for one in found or ())
        names = [PurePosixPath(name) for move in moves for name in (move.source, move.target)]
    except (TypeError, KeyError):
        raise UserError(f"the journal {path} is damaged: it does not list files with source and target") from None
    # It may have come with the photos, from anywhere.
    outside = [name for name in names if name.is_absolute() or ".." in name.parts]
    if outside:
        raise UserError(f"the journal {path} names a file outside of the data: {outside[0]}; it is not from here")
    return moves


def _rows(content: bytes, path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers, as spreadsheets write them: with or without byte order mark, "," or ";"."""
    try:
        text = content.decode("utf-8-sig")
        head = text.splitlines()[0] if text.strip() else ""
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter="," if "," in head else ";", restval="", strict=True
        )
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise UserError(f"{path} has no column {missing[0]!r}; line 1 must be {','.join(COLUMNS)}")
        rows = []
        for row in reader:
            if None in row:  # where DictReader puts what has no column
                columns = len(reader.fieldnames or ())
                raise UserError(f"nothing was moved: line {reader.line_num}: it has more than {columns} columns")
            rows.append((reader.line_num, {name: row[name] for name in COLUMNS}))
        return rows
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error}") from None
    except csv.Error as error:
        raise UserError(f"{path} is no CSV file: {error}") from None


def _planned(
    root: Path, folder: PhotoFolder, rows: Sequence[tuple[int, dict[str, str]]], path: Path
) -> tuple[FileMove, ...]:
    photos = {photo.name: photo for photo in folder.photos}
    seen: set[str] = set()
    taken: set[str] = set()
    moves, wrong = [], []
    for line, row in rows:
        decision = row["decision"].strip().lower() or KEEP
        photo = photos.get(_known(row["photo"], photos))
        to = _known(row["to"].strip() or row["likely"], folder.labels)
        reason = _objection(decision, photo, row, to, folder.labels)
        if photo and decision != KEEP and photo.name in seen:
            reason = f"{photo.name} has been decided about on a line before"
        if reason:
            wrong.append(f"line {line}: {reason}")
        elif photo and decision != KEEP:
            seen.add(photo.name)
            moves.append(FileMove(photo.name, _free(root, _target(photo, None if decision == REMOVE else to), taken)))
    if wrong:
        raise UserError(_listed(f"nothing was moved: {path} cannot be applied", wrong))
    return tuple(moves)


def _known(cell: str, names: Collection[str]) -> str:
    """What is meant by a cell of the file: a formula is disarmed by an apostrophe (bucketlens.escaping.csv_cell)."""
    return cell if cell in names else cell.removeprefix("'")


def _objection(decision: str, photo: Photo | None, row: dict[str, str], to: str, labels: Sequence[str]) -> str | None:
    if decision not in (KEEP, MOVE, REMOVE):
        return f"the decision is {decision!r}; it must be {KEEP}, {MOVE} or {REMOVE}"
    if decision == KEEP:
        return None
    if photo is None:
        return f"there is no photo {row['photo']!r}"
    if _known(row["label"], labels) != photo.label:
        return f"{photo.name} has the label {photo.label!r} and not {row['label']!r}; the photos have changed since"
    if decision == MOVE and to not in labels:
        return f"there is no class {to!r}; the classes are {', '.join(labels)}"
    if decision == MOVE and to == photo.label:
        return f"{photo.name} has the label {to!r} already"
    return None


def _target(photo: Photo, label: str | None) -> PurePosixPath:
    """Where a photo goes: the same place below another class folder, or below the removed ones."""
    name = PurePosixPath(photo.name)
    if label is None:
        return PurePosixPath(FOLDER, _REMOVED) / name
    place = name.parts.index(photo.label, 1 if photo.split else 0)
    return PurePosixPath(*name.parts[:place], label, *name.parts[place + 1 :])


def _free(root: Path, wanted: PurePosixPath, taken: set[str]) -> str:
    """``wanted``, or that with the first number that makes it a name that is not taken; it is, then."""
    name, number = wanted, 1
    # Some file systems do not tell upper from lower case.
    while os.path.lexists(root / name) or str(name).lower() in taken:
        name = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
    taken.add(str(name).lower())
    return str(name)


def _perform(root: Path, moves: Sequence[FileMove]) -> None:
    """Each in one step; those that have been done before are left out. Raises OSError."""
    for move in moves:
        source, target = root / move.source, root / move.target
        if os.path.lexists(target):
            if os.path.lexists(source):
                raise FileExistsError(17, "the name has been taken meanwhile", str(target))
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)


def _failed(error: OSError, remedy: str) -> str:
    return f"{error.filename or 'a file'} could not be moved: {error.strerror or error}; {remedy}"


def _listed(what: str, lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _ERRORS_SHOWN} more"] if len(lines) > _ERRORS_SHOWN else []
    return "\n  ".join([f"{what}:", *lines[:_ERRORS_SHOWN], *more])
