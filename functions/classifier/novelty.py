"""How unlike the photos that a model knows an image is, by the model's own embedding of it.

The measure is the distance to the nearest of the training photos that the bundle keeps (Sun et al.,
"Out-of-Distribution Detection with Deep Nearest Neighbors", 2022), told as a percentile: the share of the validation
photos, which the model was not trained on, that are nearer to theirs. Fitting and serving use this code.
"""

from __future__ import annotations

import io
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import NOVELTY_NAME
from classifier.errors import ModelIncompatibleError

_LARGEST = 127
_SMALLEST_LENGTH = np.float32(1e-30)
_LENGTH_WEIGHT = np.float32(0.5)


class KnownPhotos:
    """Training photos, and how far from the nearest of them the validation photos are.

    Args:
        directions: int8, (photos, features), the first columns of :func:`descriptors`, up to a factor for each row.
        lengths: float32, (photos,), their last column.
        distances: float32, (validation photos,), ascending.
    """

    def __init__(
        self, directions: NDArray[np.int8], lengths: NDArray[np.float32], distances: NDArray[np.float32]
    ) -> None:
        self._stored = (directions, lengths, distances)
        self._known = np.column_stack([_unit(directions.astype(np.float32)), lengths])
        self._squares = (self._known * self._known).sum(axis=1)

    @classmethod
    def of(cls, embeddings: NDArray[np.float32], distances: NDArray[np.float32]) -> Self:
        """``embeddings``: (photos, features)."""
        described = descriptors(embeddings)
        directions = described[:, :-1]
        largest = np.maximum(np.abs(directions).max(axis=1, keepdims=True), _SMALLEST_LENGTH)
        return cls(np.rint(directions / largest * _LARGEST).astype(np.int8), described[:, -1], distances)

    @property
    def photos(self) -> int:
        return len(self._known)

    @property
    def features(self) -> int:
        return int(self._known.shape[1]) - 1

    def distance(self, embedding: NDArray[np.float32]) -> np.float32:
        """Euclidean distance of an embedding, (features,), to the nearest photo, between their descriptors."""
        described = descriptors(embedding)
        square = (self._squares - 2 * (self._known @ described)).min() + described @ described
        return np.float32(np.sqrt(np.maximum(square, 0)))

    def novelty(self, embedding: NDArray[np.float32]) -> float:
        """Share of the validation photos that are nearer to a training photo than this one is, 0 to 1.

        Args:
            embedding: float32, (features,). One that is not finite is as novel as can be.
        """
        distances = self._stored[2]
        return float(np.searchsorted(distances, self.distance(embedding), side="left")) / len(distances)

    def to_bytes(self) -> bytes:
        """The content of ``novelty.npy``: the three arrays, one after the other."""
        stream = io.BytesIO()
        for array in self._stored:
            np.save(stream, array, allow_pickle=False)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ModelIncompatibleError for anything but what :meth:`to_bytes` writes."""
        stream = io.BytesIO(data)
        try:
            directions, lengths, distances = (np.load(stream, allow_pickle=False) for _ in range(3))
        except (OSError, EOFError, ValueError) as error:
            raise ModelIncompatibleError(f"{NOVELTY_NAME} cannot be read: {error}") from error
        kinds = [(array.dtype, array.ndim) for array in (directions, lengths, distances)]
        right = kinds == [(np.int8, 2), (np.float32, 1), (np.float32, 1)]
        if not (right and directions.size and len(directions) == len(lengths) and distances.size):
            raise ModelIncompatibleError(f"{NOVELTY_NAME} does not hold photos and distances")
        return cls(directions, lengths, distances)


def descriptors(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of an embedding is compared: the direction of its square roots, and half the logarithm of its length.

    The square roots keep a few strong features from hiding all others, as the Hellinger distance does. The length is
    what tells other things from the photos of a small network that was trained on nothing else: its features of
    whatever it is shown point the same few ways.

    Args:
        embeddings: float32, (..., features).

    Returns:
        float32, (..., features + 1).
    """
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite becomes NaN
        lengths = np.sqrt((embeddings * embeddings).sum(axis=-1, keepdims=True))
        logarithms = _LENGTH_WEIGHT * np.log(np.maximum(lengths, _SMALLEST_LENGTH))
        return np.concatenate([_unit(np.sign(embeddings) * np.sqrt(np.abs(embeddings))), logarithms], axis=-1)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors along the last axis at length 1; those of length 0 stay as they are."""
    lengths = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    return (vectors / np.maximum(lengths, _SMALLEST_LENGTH)).astype(np.float32, copy=False)
