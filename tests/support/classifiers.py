"""What classifies images in tests of everything around it: in this process, with nothing to bound it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from classifier.bundle import Manifest
from classifier.classification import Classifier
from classifier.imaging import Limits
from classifier.model import Classified, Model, above_thresholds, top_k

T = TypeVar("T")


class InTurn(Executor):
    """Runs what it is given at once, in the caller's thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Preceded:
    """A classifier with something before each image.

    Args:
        before: called with each file's content first; may raise.
    """

    def __init__(self, classifier: Classifier, before: Callable[[bytes], None]) -> None:
        self._classifier = classifier
        self._before = before

    @property
    def manifest(self) -> Manifest:
        return self._classifier.manifest

    def classify(self, data: bytes, top_k: int, time_left: float) -> Classified:
        self._before(data)
        return self._classifier.classify(data, top_k, time_left)


class InProcess:
    """A model behind the interface of :class:`classifier.serving.ServedModel`."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self._model = model
        self._limits = limits

    @property
    def manifest(self) -> Manifest:
        return self._model.manifest

    def classify(self, data: bytes, k: int, time_left: float) -> Classified:
        image = self.manifest.decode(data, self._limits)
        answer = self._model.answer(image.tensor)
        best = tuple(top_k(answer.probabilities, self.manifest.labels, k))
        above = above_thresholds(answer.probabilities, self.manifest.output)
        labels = None if above is None else tuple(self.manifest.labels[index] for index in above)
        timing = {"decode": 1.0, "predict": 1.0}
        return Classified(image.format, image.width, image.height, best, timing, labels, answer.novelty)
