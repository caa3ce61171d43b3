"""The model that serves: loaded at cold start, replaced between batches when another version is promoted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from classifier.bundle import Manifest
from classifier.errors import CorruptImage, ModelUnavailable, OutOfTime
from classifier.imaging import Limits, decode
from classifier.loader import BundleLoader
from classifier.model import Classified, Model
from classifier.model import top_k as _best

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
        limits: of one image.
    """

    def __init__(
        self,
        loader: BundleLoader,
        *,
        workers: int,
        golden_test: bool,
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._cores = threading.BoundedSemaphore(workers)
        self._loader = loader
        self._workers = workers
        self._golden_test = golden_test
        self._clock = clock
        self._checked_at = clock()
        self.model = self._load()

    @property
    def manifest(self) -> Manifest:
        """Of the live model."""
        return self.model.manifest

    def classify(self, data: bytes, top_k: int, time_left: float) -> Classified:
        """Decode and classify one image.

        Args:
            time_left: seconds that it may take, waiting for a free worker included.

        Raises:
            ImageRejected: one of its leaves.
            OutOfTime: no worker was free in time.
        """
        model, spec = self.model, self.manifest.input
        if not self._cores.acquire(timeout=max(0.0, time_left)):
            raise OutOfTime(f"no worker was free within {time_left:.1f} s")
        try:
            started = time.perf_counter()
            decoded = decode(
                data, height=spec.height, width=spec.width, policy=model.manifest.resize, limits=self._limits
            )
            at_decoded = time.perf_counter()
            probabilities = model.predict(decoded.tensor)
            at_predicted = time.perf_counter()
        finally:
            self._cores.release()
        if not np.isfinite(probabilities).all():
            raise CorruptImage("the model returns NaN for it")
        return Classified(
            decoded.format,
            decoded.width,
            decoded.height,
            tuple(_best(probabilities, model.manifest.labels, top_k)),
            {"decode": (at_decoded - started) * 1000, "predict": (at_predicted - at_decoded) * 1000},
        )

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
