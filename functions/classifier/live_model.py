"""The model of a process: loaded by the first who needs it, and as new as the pointer says."""

from __future__ import annotations

import time
from collections.abc import Callable

from aws_lambda_powertools import Logger

from classifier.loader import Bundle, BundleLoader
from classifier.memory import resident_bytes, share_of_decoding
from classifier.pool import WorkerPool
from classifier.s3 import ReadableS3
from classifier.serving import ServedModel
from classifier.settings import ServingSettings


class LiveModel:
    """What to classify with, now.

    Args:
        load: loads the model; called until it succeeds, when there is something to classify.
    """

    def __init__(self, load: Callable[[], ServedModel], logger: Logger) -> None:
        self._load = load
        self._logger = logger
        self._model: ServedModel | None = None

    def current(self) -> ServedModel:
        """The model, loaded if it is not yet, and as new as the pointer says.

        Raises:
            ModelUnavailable, ModelIntegrityError, ModelIncompatibleError
        """
        if self._model is None:
            self._model = self._load()
            loaded = self._model.manifest
            self._logger.info("model loaded", model=loaded.name, version=loaded.version, labels=len(loaded.labels))
        elif (refreshed := self._model.refresh()) is not None:
            self._logger.info("model refreshed", version=refreshed.version, kept_because=refreshed.kept_because)
        return self._model


def load_model(settings: ServingSettings, s3: ReadableS3) -> ServedModel:
    """Load the model that the settings name, into worker processes as the function's memory allows.

    Raises:
        ModelUnavailable, ModelIntegrityError, ModelIncompatibleError, ConfigError
    """
    return ServedModel(
        BundleLoader(settings.model_uri, s3),
        lambda bundle: _workers(settings, bundle),
        golden_test=settings.golden_test,
        clock=time.monotonic,
    )


def _workers(settings: ServingSettings, bundle: Bundle) -> WorkerPool:
    return WorkerPool(
        bundle.manifest,
        bundle.model,
        bundle.novelty,
        workers=settings.workers,
        limits=settings.limits,
        plan_memory=lambda model, worker: share_of_decoding(
            settings.memory_bytes,
            own=resident_bytes(),
            in_flight=settings.bytes_in_flight,
            workers=settings.workers,
            model=model,
            worker=worker,
            max_bytes=settings.limits.max_bytes,
        ),
    )
