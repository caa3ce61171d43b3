"""What a network is worth on some photos before it is fine-tuned: a linear layer on its frozen features."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_build.files import write_atomic

_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the weights, in units of the mean square of the features


def cached_features(
    folder: Path, key: Sequence[str], compute: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Features, (photos, features), computed once: kept in ``folder`` as a file of their own.

    Args:
        key: everything they depend on: network, weights, size, and the photos' digests in order.
    """
    path = folder / f"{hashlib.sha256(chr(10).join(key).encode()).hexdigest()}.npy"
    try:
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged
        found = compute()
        content = io.BytesIO()
        np.save(content, found)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content.getvalue())
    return found


def classified_rightly(features: NDArray[np.float32], targets: NDArray[np.int64], labels: int) -> NDArray[np.bool_]:
    """Which photos a linear layer, fitted by ridge regression on all the others, gives their own label.

    Leaving out each photo in turn takes no further fit: what is then left of its target is its coefficient over the
    diagonal of the inverse (Rifkin and Lippert, Notes on Regularized Least Squares, 2007, section 4).

    Args:
        features: (photos, features); ``targets``: (photos,), positions among ``labels`` labels.
    """
    x = features.astype(np.float64)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    # The 1 is a constant feature. Centred targets in its place would give each photo's away: they sum to 0.
    values, vectors = np.linalg.eigh(x @ x.T / x.shape[1] + 1)
    wanted = np.eye(labels)[targets]
    rotated = vectors.T @ wanted
    best, chosen = np.inf, wanted
    for penalty in _PENALTIES:
        inverse = 1 / (np.maximum(values, 0) + penalty)
        left = (vectors @ (inverse[:, np.newaxis] * rotated)) / ((vectors**2) @ inverse)[:, np.newaxis]
        error = float((left**2).mean())
        if error < best:
            best, chosen = error, wanted - left
    right: NDArray[np.bool_] = chosen.argmax(axis=1) == targets
    return right


def are_equal(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    """Whether the difference between two networks on the same photos is within its standard error."""
    difference = one.astype(np.float64) - other
    return bool(abs(difference.mean()) <= difference.std(ddof=1) / np.sqrt(len(difference)))
