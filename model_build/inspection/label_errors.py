"""Labels that are probably wrong, by what a linear layer fitted on all the other photos says of each photo.

Ridge regression on frozen features, one target of 0 and 1 a class, each photo judged with itself and its exact copies
left out. Leaving out takes no further fit (Rifkin and Lippert, Notes on Regularized Least Squares, 2007, section 4).
Photos are ranked by the normalized margin of Northcutt, Jiang and Chuang, "Confident Learning", 2021: the score of the
label they have less the highest of another.

The settings were chosen on 1,270 photos of 10 classes of clothing, by the share of 5 % changed labels among the first
6 %. Penalties from 1 to 5 differ by less than the standard error (0.008); the square roots gain 1 to 2 points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PENALTY = 2.0
CHANGED = 0.05
"""The share of labels that :meth:`HeldOutScores.noticed` changes."""

_TRIALS = 10
_CHUNK = 4096  # photos: what is worked on at once beside the features


class HeldOutScores:
    """What a linear layer fitted on the others says of each photo, whatever labels they have. Work and memory grow
    linearly with the photos."""

    def __init__(self, features: NDArray[np.float32], copies: NDArray[np.int64]) -> None:
        """``features``: (photos, features). ``copies``: (photos,), a number that photos of the same bytes share, from 0
        on without gaps: they are left out together, so that they do not vouch for each other's label."""
        self._x = _standardised(features)
        self._copies = copies
        self._inverse = np.linalg.inv(self._x.T @ self._x + PENALTY * np.eye(self._x.shape[1]))
        leverage = np.concatenate(
            [
                np.einsum("ij,ij->i", part @ self._inverse, part)
                for part in (self._x[start : start + _CHUNK] for start in range(0, len(self._x), _CHUNK))
            ]
        )
        # Of m copies, all of leverage h, the block of the hat matrix is h everywhere; (I - block)^-1 is then
        # I + h / (1 - m h) (Sherman and Morrison, 1950).
        self._weight = leverage / (1 - np.bincount(copies)[copies] * leverage)

    def of(self, targets: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
        """Scores, (photos, labels), about 0 to 1, of ``targets``, (photos,), positions among ``labels`` labels."""
        wanted = np.eye(labels)[targets]
        missed = wanted - self._x @ (self._inverse @ (self._x.T @ wanted))
        together = np.zeros((int(self._copies.max()) + 1, labels))
        np.add.at(together, self._copies, missed)
        scores: NDArray[np.float64] = wanted - missed - self._weight[:, np.newaxis] * together[self._copies]
        return scores

    def noticed(self, targets: NDArray[np.int64], labels: int) -> float | None:
        """A trial on these photos: of labels that are changed at random (5 %), the share whose margin is then below 0;
        the mean of 10 draws, always the same ones. None where 5 % is no photo."""
        count = int(CHANGED * len(targets))
        if not count:
            return None
        random = np.random.default_rng(0)
        found = 0
        for _ in range(_TRIALS):
            rows = random.choice(len(targets), count, replace=False)
            changed = targets.copy()
            changed[rows] = (changed[rows] + random.integers(1, labels, count)) % labels
            found += int((margins(self.of(changed, labels), changed)[0][rows] < 0).sum())
        return found / (_TRIALS * count)


def margins(scores: NDArray[np.float64], targets: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The score of each photo's own label less the highest other, (photos,), and which label that other is, (photos,).

    Below 0 the photos that are like this one have the other label. ``scores``: (photos, labels), at least two labels.
    """
    rows = np.arange(len(targets))
    others = scores.copy()
    others[rows, targets] = -np.inf
    likely = others.argmax(axis=1)
    return scores[rows, targets] - others[rows, likely], likely


def _standardised(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Square roots (Perronnin, Sanchez and Mensink, "Improving the Fisher Kernel", 2010, section 3.2: a few large
    features no longer decide alone), of mean 0 and variance 1 over their number, and a constant feature of 1."""
    x = features.astype(np.float64)
    x = np.sign(x) * np.sqrt(np.abs(x))
    x = (x - x.mean(axis=0)) / (np.maximum(x.std(axis=0), 1e-6) * np.sqrt(x.shape[1]))
    return np.hstack([x, np.ones((len(x), 1))])
