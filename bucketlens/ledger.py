"""The work state of ``reconcile``: a SQLite file that holds three listings, joins them, and survives a crash.

Every page is committed together with the place where its listing goes on, so whenever the process ends, the next one
resumes after the last whole page. Nothing but pages is held in memory: 10 million images take some 6 GB of disk (600
bytes an image with keys of 50 characters) and as much memory as 10,000.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from classifier.errors import UserError

_APPLICATION_ID = 0x42_4C_52_31  # "BLR1"; a file with another one is not ours to change
_CACHE_KIB = 32 * 1024
LONGEST_UNCUT = 900
"""Documents with shorter names, with or without the output prefix, are named after their images' whole keys."""

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cursors (part TEXT PRIMARY KEY, position TEXT NOT NULL, finished INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (key TEXT PRIMARY KEY, etag TEXT NOT NULL, modified INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    key TEXT NOT NULL, etag TEXT, classified INTEGER NOT NULL, output TEXT, elsewhere INTEGER NOT NULL,
    model TEXT NOT NULL, unfinished INTEGER NOT NULL, gone INTEGER NOT NULL
);
CREATE TABLE outputs (key TEXT PRIMARY KEY, modified INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE differences (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL);
"""

# A scan comes in no order: rows are appended and sorted once, which at 10 million is much faster than inserting each at
# its place. An endpoint that ignores a scan's segments (moto) returns every item in each of them: the last stays.
_SORT_ITEMS = (
    "CREATE INDEX IF NOT EXISTS items_by_key"
    " ON items (key, etag, classified, output, elsewhere, model, unfinished, gone)",
    "CREATE INDEX IF NOT EXISTS items_by_output ON items (output)",
    """DELETE FROM items WHERE rowid IN (
        SELECT items.rowid FROM (SELECT key, max(rowid) AS last FROM items GROUP BY key HAVING count(*) > 1) AS repeated
        JOIN items ON items.key = repeated.key WHERE items.rowid < repeated.last)""",
)

# One kind for each object. What has changed since :settled may still be on its way through the queue, or be newer than
# the listing it is compared with. S3 tells whole seconds, so ``classified`` is one too; a JSON document is written
# after its item's classified_at.
_COMPARE_OBJECTS = """
INSERT INTO differences (kind, key)
SELECT CASE WHEN changed > :settled AND kind IN ('missing', 'unfinished', 'stale', 'without_json')
            THEN 'settling' ELSE kind END, key
FROM (
    SELECT objects.key AS key, max(objects.modified, coalesce(items.classified, 0)) AS changed, CASE
        WHEN items.key IS NULL THEN 'missing'
        WHEN items.unfinished THEN 'unfinished'
        WHEN items.etag IS NOT objects.etag THEN 'stale'
        WHEN items.output IS NOT NULL AND (outputs.key IS NULL OR outputs.modified < items.classified)
            THEN 'without_json'
        WHEN items.model < :older_than THEN 'older_model'
        WHEN items.elsewhere THEN 'unchecked'
    END AS kind
    FROM objects LEFT JOIN items ON items.key = objects.key LEFT JOIN outputs ON outputs.key = items.output
)
WHERE kind IS NOT NULL
ORDER BY key
"""
# An item that says itself that its image is gone agrees with the bucket, unless such items are removed.
_COMPARE_ITEMS = """
INSERT INTO differences (kind, key)
SELECT 'orphaned_item', items.key FROM items LEFT JOIN objects ON objects.key = items.key
WHERE objects.key IS NULL AND (:removes OR NOT items.gone) AND items.classified <= :settled
ORDER BY items.key
"""
# A document that no item names, of an image that is gone; a JSON Lines object that no item names any more, which only
# the items of all images can tell.
_COMPARE_OUTPUTS = """
INSERT INTO differences (kind, key)
SELECT 'orphaned_json', outputs.key FROM outputs
LEFT JOIN items ON items.output = outputs.key
LEFT JOIN objects ON objects.key = :input_prefix || substr(outputs.key, 1, length(outputs.key) - 5)
WHERE items.key IS NULL AND objects.key IS NULL AND outputs.modified <= :settled
    AND (:below = '' OR substr(outputs.key, 1, length(:below)) = :below AND outputs.key NOT LIKE '%.jsonl')
ORDER BY outputs.key
"""


class Kind(StrEnum):
    """How an image, an item or a JSON document differs from what it should be."""

    MISSING = "missing"
    STALE = "stale"
    WITHOUT_JSON = "without_json"
    UNFINISHED = "unfinished"
    OLDER_MODEL = "older_model"
    SETTLING = "settling"
    ORPHANED_ITEM = "orphaned_item"
    ORPHANED_JSON = "orphaned_json"
    UNCHECKED = "unchecked"

    @property
    def repairable(self) -> bool:
        """Whether classifying the image again makes it right."""
        return self in _REPAIRABLE


_REPAIRABLE = (Kind.MISSING, Kind.STALE, Kind.WITHOUT_JSON, Kind.UNFINISHED, Kind.OLDER_MODEL)


@dataclass(frozen=True)
class ListingPage:
    """One page of a listing.

    Attributes:
        rows: of one table: objects ``(key, etag, modified)``; items ``(key, etag, classified, output, elsewhere,
            model, unfinished, gone)``; outputs ``(key, modified)``. Times are whole seconds since the epoch. The key of
            an output is relative to the output prefix; an item's ``output`` is None where it has none there.
        position: where the listing goes on.
    """

    rows: Sequence[tuple[Any, ...]]
    position: str
    finished: bool


@dataclass(frozen=True)
class Comparison:
    """What the listings are compared by.

    Attributes:
        settled: what changed after this second may still be on its way.
        older_than: outcomes of models before this version are to be made anew; None for none.
        input_prefix: of the stack.
        below: the part of the outputs that was listed whole, relative to the output prefix.
        removes: whether results of deleted images are to go.
    """

    settled: int
    older_than: str | None
    input_prefix: str
    below: str
    removes: bool


class Ledger:
    """The open state file. One process at a time."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a state file, or make one.

        Raises:
            UserError: the file is something else, is in use, or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder of the state file {path}: {error.strerror}") from error
        ledger = cls(path, sqlite3.connect(path, timeout=0, isolation_level=None))
        try:
            with ledger._explained():
                ledger._prepare()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _prepare(self) -> None:
        execute = self._database.execute
        (ours,) = execute("PRAGMA application_id").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if ours != _APPLICATION_ID and tables:
            raise UserError(f"{self._path} is a database of something else: give another file with --state")
        execute("PRAGMA locking_mode = EXCLUSIVE")
        # Killed processes lose nothing this way; a power failure may lose the last pages, which are then read again.
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        execute("PRAGMA temp_store = FILE")
        execute("BEGIN EXCLUSIVE")
        if not tables:
            execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                execute(statement)
        execute("COMMIT")

    def close(self) -> None:
        self._database.close()

    def remove(self) -> None:
        """Close it and delete its files."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fact(self, name: str) -> Any:
        """What :meth:`note` noted under a name; None if nothing."""
        row = self._execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def note(self, **facts: Any) -> None:
        with self._transaction():
            self._note(facts)

    def clear(self) -> None:
        """Forget everything."""
        with self._transaction():
            for table in ("facts", "cursors", "objects", "items", "outputs", "differences"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            for index in ("items_by_key", "items_by_output"):
                self._database.execute(f"DROP INDEX IF EXISTS {index}")

    def cursor(self, part: str) -> tuple[str, bool]:
        """Where a part of the listings goes on, and whether it is finished."""
        row = self._execute("SELECT position, finished FROM cursors WHERE part = ?", (part,)).fetchone()
        return ("", False) if row is None else (row[0], bool(row[1]))

    def add(self, part: str, table: str, page: ListingPage) -> None:
        """Take in a page of a part and note where that part goes on, as one step."""
        with self._transaction():
            if page.rows:
                places = ", ".join("?" * len(page.rows[0]))
                self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", page.rows)  # noqa: S608
            self._database.execute(
                "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (part, page.position, page.finished)
            )

    def compare(self, comparison: Comparison) -> None:
        """Find the differences of what was listed; replaces those found before."""
        values = {
            "settled": comparison.settled,
            "older_than": comparison.older_than,
            "input_prefix": comparison.input_prefix,
            "below": comparison.below,
            "removes": comparison.removes,
        }
        for statement in _SORT_ITEMS:
            self._execute(statement)
        with self._transaction():
            self._database.execute("DELETE FROM differences")
            for statement in (_COMPARE_OBJECTS, _COMPARE_ITEMS, _COMPARE_OUTPUTS):
                self._database.execute(statement, values)
            self._note({"sent_through": 0, "removes": comparison.removes})

    def count(self, table: str) -> int:
        return int(self._execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own names

    def counts(self) -> dict[Kind, int]:
        """How many differences there are of each kind."""
        found = dict(self._execute("SELECT kind, count(*) FROM differences GROUP BY kind"))
        return {kind: found.get(str(kind), 0) for kind in Kind}

    def differences(self) -> Iterator[tuple[Kind, str]]:
        """Kind and key of every difference; the key of an orphaned document is relative to the output prefix."""
        for kind, key in self._execute("SELECT kind, key FROM differences ORDER BY number"):
            yield Kind(kind), key

    def examples(self, kind: Kind, most: int) -> list[str]:
        rows = self._execute("SELECT key FROM differences WHERE kind = ? ORDER BY number LIMIT ?", (str(kind), most))
        return [key for (key,) in rows]

    def left(self) -> int:
        """How many images are yet to be sent."""
        return int(self._execute(f"SELECT count(*) FROM differences WHERE {_TO_SEND}", self._sent()).fetchone()[0])  # noqa: S608

    def next_to_send(self, most: int) -> list[tuple[int, Kind, str]]:
        """Number, kind and key of the next images to send; the key of an orphaned document as in the listing."""
        found = self._execute(
            f"SELECT number, kind, key FROM differences WHERE {_TO_SEND} ORDER BY number LIMIT {most:d}",  # noqa: S608
            self._sent(),
        )
        return [(number, Kind(kind), key) for number, kind, key in found]

    def _sent(self) -> tuple[int, bool]:
        return self.fact("sent_through") or 0, bool(self.fact("removes"))

    def _note(self, facts: Mapping[str, Any]) -> None:
        for name, value in facts.items():
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        with self._explained():
            return self._database.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._database.execute("BEGIN")
            try:
                yield
            except BaseException:
                # SQLite has rolled back by itself where the disk was full.
                with contextlib.suppress(sqlite3.OperationalError):
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise UserError(
                    f"another process is using the state file {self._path}; wait until it has finished"
                ) from error
            raise UserError(
                f"the state file {self._path} cannot be used ({error}): free some space, delete it, or give another "
                "with --state"
            ) from error


# Where results of deleted images are to go, those are sent too. A document of many images has none to be sent, and from
# a name near S3's 1,024 bytes, which may have been cut, the image's key does not follow.
_TO_SEND = f"""number > ? AND (
    kind IN ({", ".join(repr(str(kind)) for kind in _REPAIRABLE)})
    OR ? AND (kind = 'orphaned_item'
              OR kind = 'orphaned_json' AND key LIKE '%.json' AND length(CAST(key AS BLOB)) < {LONGEST_UNCUT})
)"""
