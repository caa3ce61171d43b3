"""What is known of one file of a data set, kept between inspections in one SQLite file by path, time and size."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from model_build.data.dataset import Photo

UNSPLIT = "all"
"""The split of a photo in a data set without split folders."""
# Counted up whenever decoding or hashing changes what it gives: older files are then forgotten.
_VERSION = 2
_PATIENCE_SECONDS = 10  # for another inspection that is writing
_SCHEMA = """
CREATE TABLE fact (path TEXT PRIMARY KEY, mtime_ns INTEGER, size INTEGER, code TEXT, message TEXT, sha256 TEXT,
    format TEXT, mode TEXT, width INTEGER, height INTEGER, hash BLOB, signature BLOB, brightness REAL,
    sharpness REAL) WITHOUT ROWID;
CREATE TABLE thumbnail (sha256 TEXT PRIMARY KEY, width INTEGER, height INTEGER, data BLOB) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What reading a sound file tells, wherever it lies.

    Attributes:
        sha256: hexadecimal digest of the content.
        format, mode: by Pillow's names, such as ``JPEG`` and ``RGB``.
        width, height: pixels as a viewer shows them, after EXIF orientation.
        hash: :func:`model_build.data.similarity.perceptual_hash`.
        signature: :func:`model_build.data.similarity.signature`.
        brightness, sharpness: :mod:`model_build.inspection.photo_quality`.
    """

    sha256: str
    format: str
    mode: str
    width: int
    height: int
    hash: int
    signature: bytes
    brightness: float
    sharpness: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the function would not classify a file: the code and message of :mod:`classifier.errors`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """A readable photo."""

    photo: Photo
    size_bytes: int
    measured: Measured

    @property
    def name(self) -> str:
        return self.photo.name

    @property
    def label(self) -> str:
        return self.photo.label

    @property
    def split(self) -> str:
        return self.photo.split or UNSPLIT


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that can be neither trained on nor classified."""

    photo: Photo
    size_bytes: int
    refused: Refused


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as it was when it was read: any change of its content changes one of these."""

    path: str
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises OSError where there is no such file."""
        status = path.stat()
        return cls(str(path.absolute()), status.st_mtime_ns, status.st_size)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small WebP picture; ``width`` and ``height`` in pixels."""

    data: bytes
    width: int
    height: int


class FactsCache:
    """Used by one thread. A cache that cannot be opened or written holds nothing; an inspection then reads all files.

    Attributes:
        trouble: why nothing is kept, for the person to know; None if all is well.
    """

    def __init__(self, path: Path | None) -> None:
        self.trouble: str | None = None
        self._path = path
        self._database: sqlite3.Connection | None = None
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._database = _open(path)
            except (OSError, sqlite3.Error) as error:
                self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def facts_below(self, root: Path) -> dict[Stamp, Measured | Refused]:
        """What is known of the files below ``root``."""
        found: dict[Stamp, Measured | Refused] = {}
        prefix = f"{root.absolute()}/"
        # "0" is the character after "/": the range holds exactly the paths that begin with the prefix.
        rows = self._read("SELECT * FROM fact WHERE path >= ? AND path < ?", (prefix, f"{prefix[:-1]}0"))
        for path, mtime_ns, size, code, message, sha256, format_name, mode, width, height, hashed, *rest in rows:
            found[Stamp(path, mtime_ns, size)] = (
                Measured(sha256, format_name, mode, width, height, int.from_bytes(hashed, "big"), *rest)
                if code is None
                else Refused(code, message)
            )
        return found

    def keep(self, known: Iterable[tuple[Stamp, Measured | Refused]]) -> None:
        rows: list[tuple[object, ...]] = []
        for stamp, fact in known:
            start = (stamp.path, stamp.mtime_ns, stamp.size)
            if isinstance(fact, Refused):
                rows.append((*start, fact.code, fact.message, *[None] * 9))
            else:
                kept = (fact.sha256, fact.format, fact.mode, fact.width, fact.height, fact.hash.to_bytes(8, "big"))
                rows.append((*start, None, None, *kept, fact.signature, fact.brightness, fact.sharpness))
        self._write("INSERT OR REPLACE INTO fact VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def forget(self, stamps: Iterable[Stamp]) -> None:
        """Drop what is known of files that are no longer there."""
        self._write(
            "DELETE FROM fact WHERE path = ? AND mtime_ns = ? AND size = ?",
            [(stamp.path, stamp.mtime_ns, stamp.size) for stamp in stamps],
        )

    def thumbnail(self, sha256: str) -> Thumbnail | None:
        rows = self._read("SELECT data, width, height FROM thumbnail WHERE sha256 = ?", (sha256,))
        return Thumbnail(*rows[0]) if rows else None

    def keep_thumbnails(self, made: Iterable[tuple[str, Thumbnail]]) -> None:
        rows: list[tuple[object, ...]] = [(sha256, one.width, one.height, one.data) for sha256, one in made]
        self._write("INSERT OR REPLACE INTO thumbnail VALUES (?, ?, ?, ?)", rows)

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if self._database is None:
            return []
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _write(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        if self._database is None or not rows:
            return
        try:
            with self._database:
                self._database.executemany(statement, rows)
        except sqlite3.Error as error:  # a full disk, or another inspection that holds the file for long
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.close()
        self.trouble = f"{self._path} cannot be used ({error}): the next inspection will read all files again"


def _open(path: Path) -> sqlite3.Connection:
    database = _if_ours(path)
    if database is not None:
        return database
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path, timeout=_PATIENCE_SECONDS)
    try:
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _if_ours(path: Path) -> sqlite3.Connection | None:
    """The database, or None if there is none of this version; a damaged one is none."""
    database = sqlite3.connect(path, timeout=_PATIENCE_SECONDS)
    try:
        # What is kept can be had again: speed counts, a lost write does not.
        database.execute("PRAGMA synchronous = OFF")
        ours = database.execute("PRAGMA user_version").fetchone()[0] == _VERSION
    except sqlite3.OperationalError:  # the path or the disk, not the content
        database.close()
        raise
    except sqlite3.DatabaseError:
        ours = False
    if ours:
        return database
    database.close()
    return None
