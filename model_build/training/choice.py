"""``choice.json``: which networks were compared for a run, what was found, and which are fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from classifier.errors import UserError
from model_build.files import json_bytes, read_json, write_atomic


@dataclass(frozen=True)
class BackboneCandidate:
    """A network.

    Attributes:
        weights: absolute path of the file that was given for it; empty where it has its own.
        probe_accuracy: share of the photos that a linear layer on its frozen features classifies rightly, each by a
            layer fitted on the others; None where it was not probed.
        config: :class:`model_build.training.config.TrainingConfig` as fine-tuned; None where it is not.
        minutes: that its training takes, estimated beforehand.
        validation_accuracy: of the fine-tuned network; None as long as it is not.
        note: what became of it, in words.
    """

    backbone: str
    weights: str = ""
    probe_accuracy: float | None = None
    config: dict[str, Any] | None = None
    minutes: float | None = None
    validation_accuracy: float | None = None
    note: str = ""


@dataclass(frozen=True)
class BackboneChoice:
    """``candidates``: the best by the probe first, those left out last. ``identity``: what was asked for."""

    minutes: float
    candidates: tuple[BackboneCandidate, ...]
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finalists(self) -> tuple[BackboneCandidate, ...]:
        return tuple(one for one in self.candidates if one.config is not None)

    def write(self, path: Path) -> None:
        write_atomic(path, json_bytes(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises UserError when the file is damaged."""
        document = read_json(path, "the choice of the network")
        try:
            candidates = tuple(BackboneCandidate(**one) for one in document["candidates"])
            return cls(float(document["minutes"]), candidates, dict(document["identity"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}); remove {path.parent} to start over") from None
