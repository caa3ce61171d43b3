"""The model that serves: loaded at cold start, replaced between batches when another version is promoted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from classifier.bundle import Manifest
from classifier.errors import ModelUnavailable
from classifier.golden import check_golden
from classifier.loader import CHECK_INTERVAL_SECONDS, Bundle, BundleLoader
from classifier.model import Classified
from classifier.pool import WorkerPool


@dataclass(frozen=True)
class Refresh:
    """What :meth:`ServedModel.refresh` did, for the log: the version now serving, or why the old one stays."""

    version: str
    kept_because: str | None = None


class ServedModel:
    """Holds the live model and the worker processes that run it.

    Args:
        start_workers: from a verified bundle.
        golden_test: prove every loaded bundle on its golden photos first.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        loader: BundleLoader,
        start_workers: Callable[[Bundle], WorkerPool],
        *,
        golden_test: bool,
        clock: Callable[[], float],
    ) -> None:
        self._loader = loader
        self._start_workers = start_workers
        self._golden_test = golden_test
        self._clock = clock
        self._checked_at = clock()
        self._workers = self._load()

    @property
    def manifest(self) -> Manifest:
        return self._workers.manifest

    def classify(self, data: bytes, top_k: int, time_left: float) -> Classified:
        """Decode and classify one image; see :meth:`WorkerPool.classify`."""
        return self._workers.classify(data, top_k, time_left)

    def refresh(self) -> Refresh | None:
        """Follow the pointer if it has moved; called between batches, and asks S3 once every CHECK_INTERVAL_SECONDS.

        A model once loaded goes on serving while S3 does not answer. A newly promoted version that is damaged or
        that this interpreter refuses fails the batch instead: the next cold start could not serve at all.

        Returns:
            None when nothing was to be done.

        Raises:
            ModelIntegrityError, ModelIncompatibleError
        """
        now = self._clock()
        if self._loader.pinned or now - self._checked_at < CHECK_INTERVAL_SECONDS:
            return None
        try:
            if self._loader.changed():
                previous, self._workers = self._workers, self._load()
                previous.close()
                self._checked_at = now
                return Refresh(self.manifest.version)
        except ModelUnavailable as error:
            self._checked_at = now
            return Refresh(self.manifest.version, kept_because=str(error))
        self._checked_at = now
        return None

    def _load(self) -> WorkerPool:
        bundle = self._loader.load()
        workers = self._start_workers(bundle)
        if self._golden_test:
            check_golden(bundle.golden(), len(bundle.manifest.labels), bundle.read, workers.answer)
        return workers
