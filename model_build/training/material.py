"""The photos and truths of one training, as both phases take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_build.data.tensors import Images


@dataclass(frozen=True)
class Material:
    """What is learnt from.

    Attributes:
        training: photos a little larger than the model's input where crops are cut from them.
        validation: photos as the model will be served them.
        training_targets, validation_targets: int64, positions in ``labels``.
    """

    labels: tuple[str, ...]
    training: Images
    training_targets: NDArray[np.int64]
    validation: Images
    validation_targets: NDArray[np.int64]
