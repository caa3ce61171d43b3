"""Where studies live: a folder each, and a database that every process of the study writes to.

::

    STUDIES/NAME/study.db      SQLite, unless a storage of your own is given
        tuning.json            what has been learnt so far, as data
        tuning.html            the same to look at, self-contained
        runs/trial-0007/       the run of the best trial; those of the others are removed
        workers/               a lock file for each process that is tuning, held as long as it lives
"""

from __future__ import annotations

import fcntl
import re
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.errors import UserError
from model_build.choices import EXTRAS
from model_build.native import one_line

if TYPE_CHECKING:
    import optuna

DEFAULT_FOLDER = Path("studies")
DATABASE_NAME = "study.db"
PAGE_NAME = "tuning.html"

NAME_PATTERN = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,31}")
"""SageMaker's pattern of a tuning job's name: one rule for both, and safe as a folder's name."""

_HEARTBEAT_SECONDS = 10
_GRACE_SECONDS = 60
_MOST_RETRIES = 3
_LOCK_WAIT_SECONDS = 120  # for SQLite's write lock, which other processes hold for milliseconds


@dataclass(frozen=True)
class StudyPlace:
    """A study's name, its folder, and the URL of its database."""

    name: str
    folder: Path
    storage: str

    @classmethod
    def of(cls, name: str, storage: str | None = None, studies: Path = DEFAULT_FOLDER) -> StudyPlace:
        """Raises UserError for a name that SageMaker or a file system would refuse, or a storage that is no URL."""
        if not NAME_PATTERN.fullmatch(name):
            raise UserError(
                f"{name!r} is not a valid study name; use up to 32 letters, digits and hyphens, no hyphen at either end"
            )
        if storage is not None and "://" not in storage:
            raise UserError(f"the storage {storage!r} is not a database URL such as sqlite:///studies.db")
        folder = studies / name
        return cls(name, folder, storage or f"sqlite:///{folder / DATABASE_NAME}")

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def workers(self) -> Path:
        return self.folder / "workers"

    @property
    def database(self) -> Path | None:
        """The database's file; None for a server."""
        return _sqlite_file(self.storage)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in the study's folder among the processes of this file system."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def require_optuna() -> Any:
    """The module ``optuna``, quiet.

    Raises:
        UserError: it is not installed.
    """
    if not find_spec("optuna"):
        raise UserError(f"tuning needs Optuna, which is not installed; {EXTRAS}")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    return optuna


def create_study(place: StudyPlace, *, sampler: Any = None, pruner: Any = None) -> optuna.Study:
    """The study of that name, made if there is none. Killed trials of it are run again by whoever is there.

    Raises:
        UserError: the database cannot be opened.
    """
    optuna_ = require_optuna()
    try:
        with place.locked():  # two processes that create the same tables at once would fail
            study: optuna.Study = optuna_.create_study(
                study_name=place.name,
                storage=_storage(place.storage),
                sampler=sampler,
                pruner=pruner,
                direction="maximize",
                load_if_exists=True,
            )
            return study
    except OSError as error:
        raise UserError(f"the study's folder {place.folder} cannot be written: {error.strerror}") from None


def load_study(place: StudyPlace) -> optuna.Study:
    """An existing study, to read.

    Raises:
        UserError: there is none of that name (the message lists those there are), or no such database.
    """
    optuna_ = require_optuna()
    database = place.database
    if database is not None and not database.is_file():
        names = sorted(path.parent.name for path in place.folder.parent.glob(f"*/{DATABASE_NAME}"))
        raise UserError(_unknown(place.name, names, f"no database {database}"))
    storage = _storage(place.storage)
    names = sorted(optuna_.get_all_study_names(storage))
    if place.name not in names:
        raise UserError(_unknown(place.name, names, place.storage))
    study: optuna.Study = optuna_.load_study(study_name=place.name, storage=storage)
    return study


def discard_study(place: StudyPlace) -> None:
    """Forget a study and its trials; its folder stays."""
    require_optuna().delete_study(study_name=place.name, storage=_storage(place.storage))


def requeue(study: optuna.Study, number: int) -> None:
    """Have a trial that was broken off run again, with the same settings, by whoever comes next. One that ended
    meanwhile is left alone."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import RetryHeartbeatStaleTrialCallback
    from optuna.trial import TrialState

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if number >= 0 and study.get_trials(deepcopy=False)[number].state is TrialState.FAIL:
            RetryHeartbeatStaleTrialCallback()(study, study.get_trials(deepcopy=True)[number])


def fail_abandoned(study: optuna.Study, place: StudyPlace) -> None:
    """Requeue the trials of killed processes: at once where their lock tells, else when their heartbeat has stopped."""
    import optuna
    from optuna.exceptions import ExperimentalWarning
    from optuna.trial import TrialState

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_MOST_RETRIES)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if is_known_dead(place.workers, str(trial.user_attrs.get("worker"))):
                study.tell(trial.number, state=TrialState.FAIL)
                retry(study, trial)
                forget(place.workers, str(trial.user_attrs["worker"]))
        optuna.storages.fail_stale_trials(study)


def _unknown(name: str, names: list[str], where: str) -> str:
    there = f"there are {', '.join(names)}" if names else f"there are none ({where})"
    return f"unknown study {name!r}; {there}"


def _storage(url: str) -> Any:
    """The database, with a heartbeat: a trial whose process has stopped beating is run again."""
    import sqlalchemy
    from optuna.exceptions import ExperimentalWarning, StorageInternalError
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    file = _sqlite_file(url)
    options: dict[str, Any] = {}
    if file is not None:
        # No pool: a file is opened in no time, and one that stays open outlives the study.
        options = {"connect_args": {"timeout": _LOCK_WAIT_SECONDS}, "poolclass": sqlalchemy.pool.NullPool}
    try:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=_HEARTBEAT_SECONDS,
                grace_period=_GRACE_SECONDS,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=_MOST_RETRIES),
            )
            if file is not None:
                _serialize(storage.engine)
            return storage
    # ImportError: the driver of another database; RuntimeError: a database of another version of Optuna.
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, ImportError, RuntimeError, OSError) as error:
        raise UserError(f"the study's database {_hidden(url)} cannot be opened: {one_line(error)}") from None


def _serialize(engine: Any) -> None:
    """Have every transaction take SQLite's write lock when it begins.

    Python's driver begins one only at the first change: what was read before may be stale by then, and two processes
    take the same waiting trial. (docs.sqlalchemy.org, SQLite dialect, "Enabling Non-Legacy SQLite Transactional Modes")
    """
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver's own transactions off

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _sqlite_file(url: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None


def _hidden(url: str) -> str:
    """A URL without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


@contextmanager
def worker(folder: Path) -> Iterator[str]:
    """Register this process while the block runs; its identifier."""
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    path = folder / f"{name}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield name
        finally:
            path.unlink(missing_ok=True)


def is_known_dead(folder: Path, name: str) -> bool:
    """Whether that process has been killed. False where one cannot know: it runs, ended well, or is elsewhere.

    A process number would not do: numbers are used again, and mean nothing in another container.
    """
    path = folder / f"{name}.lock"
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


def forget(folder: Path, name: str) -> None:
    """Remove what a dead process left."""
    (folder / f"{name}.lock").unlink(missing_ok=True)
