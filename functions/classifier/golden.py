"""The golden test: photos in the bundle that must get the answers that are stored with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from classifier.bundle import json_object, parsed
from classifier.errors import ImageRejected, ModelIncompatibleError

if TYPE_CHECKING:
    from classifier.model import Answer

GOLDEN_NAME = "golden/golden.json"


@dataclass(frozen=True)
class GoldenPhoto:
    """A photo of the bundle and what the model said of it when the bundle was packaged.

    Attributes:
        probabilities: in label order.
        novelty: None for a model without.
    """

    file: str
    probabilities: tuple[float, ...]
    novelty: float | None = None


@dataclass(frozen=True)
class GoldenSet:
    """``golden/golden.json``: photos that prove that this machine computes what the build machine computed.

    Attributes:
        tolerance: the largest absolute difference allowed in any one probability.
        novelty_tolerance: that in a novelty.
    """

    tolerance: float
    photos: tuple[GoldenPhoto, ...]
    novelty_tolerance: float = 0.0

    def to_bytes(self) -> bytes:
        return (json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ModelIntegrityError for anything but a golden set."""
        document = json_object(data, GOLDEN_NAME)
        return parsed(
            GOLDEN_NAME,
            lambda: cls(
                tolerance=float(document["tolerance"]),
                photos=tuple(
                    GoldenPhoto(
                        str(photo["file"]),
                        tuple(float(p) for p in photo["probabilities"]),
                        None if photo.get("novelty") is None else float(photo["novelty"]),
                    )
                    for photo in document["photos"]
                ),
                novelty_tolerance=float(document.get("novelty_tolerance", 0.0)),
            ),
        )


def check_golden(
    golden: GoldenSet, labels: int, read: Callable[[str], bytes], answer: Callable[[bytes], Answer]
) -> None:
    """Prove that decoding and prediction give here what they gave on the build machine.

    Args:
        golden: the bundle's golden set.
        labels: how many the model has.
        read: content of a file of the bundle by its name.
        answer: what the model says of an image file.

    Raises:
        ModelIncompatibleError: names the photo that differs and by how much.
    """
    for photo in golden.photos:
        expected = np.asarray(photo.probabilities, np.float32)
        if expected.shape != (labels,):
            raise ModelIncompatibleError(f"golden photo {photo.file} has {expected.size} probabilities, not {labels}")
        try:
            given = answer(read(photo.file))
        except ImageRejected as error:
            raise ModelIncompatibleError(f"golden photo {photo.file} cannot be decoded: {error}") from error
        difference = float(np.abs(given.probabilities - expected).max())
        if not difference <= golden.tolerance:
            raise ModelIncompatibleError(
                f"golden photo {photo.file} differs by {difference:.4f} from its published probabilities"
                f" (allowed: {golden.tolerance}): this interpreter or decoder does not reproduce the packaged results"
            )
        if photo.novelty is None:
            continue
        if given.novelty is None or not abs(given.novelty - photo.novelty) <= golden.novelty_tolerance:
            raise ModelIncompatibleError(
                f"golden photo {photo.file} has novelty {given.novelty}, not its published {photo.novelty} (allowed"
                f" difference: {golden.novelty_tolerance}): this interpreter or decoder does not reproduce the packaged"
                " results"
            )
