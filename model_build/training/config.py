"""Everything that decides a training, as one value: saved with the run, overridable from a file or the command line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from classifier.errors import UserError
from classifier.imaging import ResizePolicy
from model_build.choices import Depth, Optimizer
from model_build.training.backbones import find_backbone

CLASS_WEIGHTS = ("auto", "balanced", "none")
BEST_BY = ("loss", "accuracy")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")
Setting = str | int | float | bool | None
"""A setting of :class:`TrainingConfig` given by its name; None leaves it as it is."""
_BELOW_ONE = ("momentum", "weight_decay", "dropout", "label_smoothing", "average", "colour")
_REMOVED = {"mix"}  # mixtures of two photos; every run of before has it in its config.json, as 0


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. ``config.json`` of any run can be given back as ``--config``.

    The defaults below are those of a network that starts from nothing; :meth:`for_backbone` has those for one that
    starts from ImageNet weights, in two phases: its new last layer alone, then the network with it.

    Attributes:
        backbone: name in :data:`model_build.training.backbones.BACKBONES`.
        alpha: width of a backbone that comes in several; 0 takes that of the weights, else 1.
        pretrained: start from ImageNet weights, downloaded unless a file is given; otherwise from nothing.
        image_size: side of the model's square input, in pixels; 0 takes the backbone's own.
        resize: how a photo becomes that square (``stretch``, ``crop`` or ``pad``), in training and in serving alike.
        head_epochs: passes of the first phase, over features computed once: a second each at most.
        head_learning_rate: its constant learning rate.
        fine_tune: how much of the backbone the second phase changes, one of :class:`model_build.choices.Depth`.
        epochs: at most this many passes of the second phase; 0 chooses by the number of photos.
        batch_size: photos a step.
        optimizer: ``adamw`` (Loshchilov and Hutter, 2019) or ``sgd`` with ``momentum`` and Nesterov's look-ahead.
        learning_rate: the peak, reached after ``warmup_epochs``; a cosine takes it to 0 from there
            (Loshchilov and Hutter, SGDR, 2017).
        weight_decay: decoupled, of kernels only.
        clip_norm: largest norm of all gradients together; 0 clips nothing.
        dropout: share of the features dropped before the last layer, 0 to 1.
        label_smoothing: share of each target spread over all labels (Szegedy et al., 2016).
        class_weights: ``auto`` weighs classes by the inverse of their photos when the largest has over 1.5 times those
            of the smallest, ``balanced`` always, ``none`` never.
        average: decay of a moving average of the weights, which is then what is validated and kept; 0 has none.
        augmentation: strength of all random changes of training photos, 0 (off) to 1 (as the settings below say).
        crop_area: smallest share of a photo's area that a random crop keeps; 1 crops nothing.
        shift, zoom: largest random shift and zoom of a training photo, as a share of its side.
        rotation_degrees: largest random rotation, either way.
        flip: mirror half of the training photos left to right. Off from nothing: a mirrored 2 is no digit.
        colour: largest random change of brightness, contrast and saturation, as a share.
        small_epochs: share of the epochs on photos of ``small_side`` times the side: several times as fast, and as
            good when full size follows (Touvron et al., Fixing the train-test resolution discrepancy, 2019).
        best_by: which epoch is kept: the one with the lowest validation ``loss``, or the highest ``accuracy`` and of
            those the lowest loss.
        patience: epochs without a better one before training stops.
        precision: ``auto`` is mixed bfloat16 where there is a GPU, float32 otherwise.
        validation_fraction, test_fraction: share of every class set aside where the data has no such folders.
        review_threshold: confidence under which a prediction is marked for review, 0 to 1.
        seed: of the split, the initial weights, the order and the augmentation.
    """

    backbone: str = "small_cnn"
    alpha: float = 0.0
    pretrained: bool = False
    image_size: int = 0
    resize: str = ResizePolicy.STRETCH.value
    head_epochs: int = 0
    head_learning_rate: float = 0.003
    fine_tune: str = "all"
    epochs: int = 30
    batch_size: int = 64
    optimizer: str = "adamw"
    momentum: float = 0.9
    learning_rate: float = 0.003
    warmup_epochs: float = 1.0
    weight_decay: float = 0.0001
    clip_norm: float = 0.0
    dropout: float = 0.3
    label_smoothing: float = 0.0
    class_weights: str = "auto"
    average: float = 0.0
    augmentation: float = 1.0
    crop_area: float = 1.0
    shift: float = 0.08
    zoom: float = 0.1
    rotation_degrees: float = 10.0
    flip: bool = False
    colour: float = 0.0
    small_epochs: float = 0.0
    small_side: float = 0.72
    best_by: str = "loss"
    patience: int = 8
    precision: str = "auto"
    validation_fraction: float = 0.15
    test_fraction: float = 0.2
    review_threshold: float = 0.5
    seed: int = 7

    def __post_init__(self) -> None:
        def one_of(choices: tuple[str, ...], value: str) -> tuple[bool, str]:
            return value in choices, f"must be one of {', '.join(choices)}"

        rules = {
            "alpha": (0 <= self.alpha <= 2, "must be over 0 and at most 2"),
            "image_size": (self.image_size == 0 or 8 <= self.image_size <= 1024, "must be from 8 to 1024"),
            "resize": one_of(tuple(policy.value for policy in ResizePolicy), self.resize),
            "fine_tune": one_of(tuple(Depth), self.fine_tune),
            "epochs": (self.epochs >= (0 if find_backbone(self.backbone).pretrained else 1), "must be at least 1"),
            "batch_size": (self.batch_size >= 2, "must be at least 2 (batch normalization needs two photos)"),
            "optimizer": one_of(tuple(Optimizer), self.optimizer),
            "class_weights": one_of(CLASS_WEIGHTS, self.class_weights),
            "rotation_degrees": (0 <= self.rotation_degrees <= 180, "must be from 0 to 180"),
            "small_side": (0.25 <= self.small_side <= 1, "must be from 0.25 to 1"),
            "best_by": one_of(BEST_BY, self.best_by),
            "patience": (self.patience >= 1, "must be at least 1"),
            "precision": one_of(PRECISIONS, self.precision),
            "seed": (0 <= self.seed < 2**32, "must be from 0 to 4294967295"),
        }
        ranges: dict[str, tuple[Callable[[float], bool], tuple[str, ...]]] = {
            "must be at least 0": (lambda x: x >= 0, ("head_epochs", "warmup_epochs", "clip_norm")),
            "must be from 0 to 0.5": (lambda x: 0 <= x <= 0.5, ("shift", "zoom")),
            "must be over 0 and at most 0.5": (lambda x: 0 < x <= 0.5, ("validation_fraction", "test_fraction")),
            "must be from 0 to 1": (lambda x: 0 <= x <= 1, ("augmentation", "small_epochs", "review_threshold")),
            "must be over 0 and at most 1": (
                lambda x: 0 < x <= 1,
                ("head_learning_rate", "learning_rate", "crop_area"),
            ),
            "must be from 0 to under 1": (lambda x: 0 <= x < 1, _BELOW_ONE),
        }
        for rule, (within, names) in ranges.items():
            rules |= {name: (within(getattr(self, name)), rule) for name in names}
        for name, (holds, rule) in rules.items():
            if not holds:
                raise UserError(f"{name} is {getattr(self, name)!r}; it {rule}")

    @property
    def policy(self) -> ResizePolicy:
        return ResizePolicy(self.resize)

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    def overridden(self, values: Mapping[str, Any], source: str) -> Self:
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
                raise UserError(f"{source}: unknown setting {name!r}; the settings are {', '.join(known)}")
            wanted = known[name]
            # Whole numbers are written without a point; bool is an int in Python and must not pass for one.
            value = float(given) if wanted is float and type(given) is int else given
            value = str(value) if isinstance(value, StrEnum) else value
            if type(value) is not wanted:
                raise UserError(f"{source}: {name} is {value!r}; it must be of type {wanted.__name__}")
            changes[name] = value
        try:
            return replace(self, **changes)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None

    @classmethod
    def for_backbone(cls, name: str, *, pretrained: bool | None = None, alpha: float = 0.0) -> Self:
        """The defaults for a backbone, with ImageNet weights wherever it has them unless ``pretrained`` is False.

        The values for pretrained networks were chosen on validation photos, see docs/experiments.md. A narrow network
        (``alpha``, 0 for one of full width) learns more slowly than one of full width, which overfits sooner.

        Raises:
            UserError: no such backbone.
        """
        backbone = find_backbone(name)
        if not backbone.pretrained or pretrained is False:
            return cls(backbone=name)
        narrow = is_narrow(alpha)
        return cls(
            backbone=name,
            pretrained=True,
            head_epochs=30,
            epochs=0,
            batch_size=16,
            learning_rate=0.0003 if narrow else 0.0002,
            weight_decay=0.02,
            clip_norm=1.0,
            dropout=0.2,
            label_smoothing=0.1,
            average=0.995 if narrow else 0.997,
            crop_area=0.5,
            shift=0.0,
            zoom=0.0,
            rotation_degrees=0.0,
            flip=True,
            colour=0.3,
            small_epochs=0.6 if narrow else 0.75,
            best_by="accuracy",
            patience=12,
        )

    @classmethod
    def composed(cls, settings: Path | Mapping[str, Any] | None, options: Mapping[str, Any]) -> Self:
        """The defaults for the chosen backbone, then ``settings`` or those of a file, then the ``options`` that are not
        None. Raises UserError as :meth:`from_file` and :meth:`overridden` do."""
        document = read_settings(settings) if isinstance(settings, Path) else settings or {}
        asked = {**document, **{name: value for name, value in options.items() if value is not None}}
        name, pretrained = asked.get("backbone", cls.backbone), asked.get("pretrained")
        alpha = asked.get("alpha", cls.alpha)
        base = cls.for_backbone(
            name if isinstance(name, str) else cls.backbone,
            pretrained=pretrained,
            alpha=alpha if isinstance(alpha, int | float) else cls.alpha,
        )
        return base.overridden(document, str(settings) if isinstance(settings, Path) else "the settings").overridden(
            options, "the options"
        )

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a TOML or JSON file that holds any of the settings; the others are :meth:`for_backbone`'s.

        Raises:
            UserError: no such file, not TOML or JSON by its suffix and content, or a setting that is wrong.
        """
        return cls.composed(path, {})


def without_removed(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Recorded settings without those that this release no longer has, where they were off.

    Raises:
        UserError: one was on; ``source`` tells where.
    """
    for name in _REMOVED & document.keys():
        if document[name]:
            raise UserError(
                f"{source}: {name} is {document[name]!r}, and this release no longer has that setting, because it did "
                "not improve results. Remove it"
            )
    return {name: value for name, value in document.items() if name not in _REMOVED}


def is_narrow(alpha: float) -> bool:
    """Whether a network of this width trains by the narrow networks' defaults; 0 is full width."""
    return 0 < alpha < 0.5


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a TOML or JSON file holds, as written there. Raises UserError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:  # ValueError: bad JSON, bad TOML, not UTF-8
        raise UserError(f"the configuration {path} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"the configuration {path} is not a table of settings")
    return without_removed(document, str(path))
