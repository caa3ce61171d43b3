"""The model that serves: loaded at cold start, replaced between batches when another version is promoted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from classifier.errors import ModelUnavailable
from classifier.loader import BundleLoader
from classifier.model import Model

CHECK_INTERVAL_SECONDS = 60.0


@dataclass(frozen=True)
class Refresh:
    """What :meth:`ServedModel.refresh` did, for the log: the version now serving, or why the old one stays."""

    version: str
    kept_because: str | None = None


class ServedModel:
    """Holds the live model.

    Args:
        workers: threads that predict at once.
        golden_test: prove every loaded bundle on its golden photos first.
        clock: seconds, monotonic.
    """

    def __init__(self, loader: BundleLoader, *, workers: int, golden_test: bool, clock: Callable[[], float]) -> None:
        self._loader = loader
        self._workers = workers
        self._golden_test = golden_test
        self._clock = clock
        self._checked_at = clock()
        self.model = self._load()

    def refresh(self) -> Refresh | None:
        """Follow the pointer if it has moved; called between batches, at most one small request a minute.

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
                self.model = self._load()
                self._checked_at = now
                return Refresh(self.model.manifest.version)
        except ModelUnavailable as error:
            self._checked_at = now
            return Refresh(self.model.manifest.version, kept_because=str(error))
        self._checked_at = now
        return None

    def _load(self) -> Model:
        bundle = self._loader.load()
        model = Model.load(bundle.model_path, bundle.manifest, interpreters=self._workers)
        if self._golden_test:
            model.check_golden(bundle.golden(), bundle.read)
        return model
