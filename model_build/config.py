"""Everything that decides a training, as one value: saved with the run, overridable from a file or the command line."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from classifier.errors import UserError
from classifier.imaging import ResizePolicy


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. ``config.json`` of any run can be given back as ``--config``.

    Attributes:
        backbone: name in :data:`model_build.backbones.BACKBONES`.
        image_size: side of the model's square input, in pixels; 0 takes the backbone's own.
        resize: how a photo becomes that square (``stretch``, ``crop`` or ``pad``), in training and in serving alike.
        epochs: at most this many passes over the training photos; early stopping usually ends sooner.
        batch_size: photos a step.
        learning_rate: the peak, reached after the first epoch; a cosine takes it to 0 from there
            (Loshchilov and Hutter, SGDR, 2017).
        weight_decay: decoupled, of AdamW (Loshchilov and Hutter, 2019).
        dropout: share of the features dropped before the last layer, 0 to 1.
        shift, zoom: largest random shift and zoom of a training photo, as a share of its side.
        rotation_degrees: largest random rotation, either way.
        flip: mirror half of the training photos left to right. Off by default: a mirrored 2 is no digit.
        patience: epochs without a lower validation loss before training stops.
        validation_fraction, test_fraction: share of every class set aside where the data has no such folders.
        review_threshold: confidence under which a prediction is marked for review, 0 to 1.
        seed: of the split, the initial weights, the order and the augmentation.
    """

    backbone: str = "small_cnn"
    image_size: int = 0
    resize: str = ResizePolicy.STRETCH.value
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.003
    weight_decay: float = 0.0001
    dropout: float = 0.3
    shift: float = 0.08
    zoom: float = 0.1
    rotation_degrees: float = 10.0
    flip: bool = False
    patience: int = 8
    validation_fraction: float = 0.15
    test_fraction: float = 0.2
    review_threshold: float = 0.5
    seed: int = 7

    def __post_init__(self) -> None:
        choices = [policy.value for policy in ResizePolicy]
        rules = {
            "image_size": (self.image_size == 0 or 8 <= self.image_size <= 1024, "must be from 8 to 1024"),
            "resize": (self.resize in choices, f"must be one of {', '.join(choices)}"),
            "epochs": (self.epochs >= 1, "must be at least 1"),
            "batch_size": (self.batch_size >= 2, "must be at least 2 (batch normalization needs two photos)"),
            "learning_rate": (0 < self.learning_rate <= 1, "must be over 0 and at most 1"),
            "weight_decay": (0 <= self.weight_decay < 1, "must be from 0 to 1"),
            "dropout": (0 <= self.dropout < 1, "must be from 0 to under 1"),
            "shift": (0 <= self.shift <= 0.5, "must be from 0 to 0.5"),
            "zoom": (0 <= self.zoom <= 0.5, "must be from 0 to 0.5"),
            "rotation_degrees": (0 <= self.rotation_degrees <= 180, "must be from 0 to 180"),
            "patience": (self.patience >= 1, "must be at least 1"),
            "validation_fraction": (0 < self.validation_fraction <= 0.5, "must be over 0 and at most 0.5"),
            "test_fraction": (0 < self.test_fraction <= 0.5, "must be over 0 and at most 0.5"),
            "review_threshold": (0 <= self.review_threshold <= 1, "must be from 0 to 1"),
            "seed": (0 <= self.seed < 2**32, "must be from 0 to 4294967295"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise UserError(f"{name} is {getattr(self, name)!r}; it {rule}")

    @property
    def policy(self) -> ResizePolicy:
        return ResizePolicy(self.resize)

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    def overridden(self, values: dict[str, Any], source: str) -> Self:
        """This configuration with ``values`` in place; None values are no override.

        Raises:
            UserError: an unknown name, a value of the wrong type, or one out of range; ``source`` tells where.
        """
        known = {field.name: type(field.default) for field in fields(self)}
        changes: dict[str, Any] = {}
        for name, given in values.items():
            if given is None:
                continue
            if name not in known:
                raise UserError(f"{source}: unknown setting {name!r}; there are {', '.join(known)}")
            wanted = known[name]
            # Whole numbers are written without a point; bool is an int in Python and must not pass for one.
            value = float(given) if wanted is float and type(given) is int else given
            if type(value) is not wanted:
                raise UserError(f"{source}: {name} is {value!r}; it must be of type {wanted.__name__}")
            changes[name] = value
        try:
            return replace(self, **changes)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a TOML or JSON file that holds any of the settings.

        Raises:
            UserError: no such file, not TOML or JSON by its suffix and content, or a setting that is wrong.
        """
        try:
            text = path.read_text(encoding="utf-8")
            document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except (OSError, ValueError) as error:  # ValueError: bad JSON, bad TOML, not UTF-8
            raise UserError(f"the configuration {path} cannot be read: {error}") from None
        if not isinstance(document, dict):
            raise UserError(f"the configuration {path} holds no settings by name")
        return cls().overridden(document, str(path))
