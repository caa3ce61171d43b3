"""What tuning may change, and between which bounds: one description for Optuna and for SageMaker."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from classifier.errors import UserError
from model_build.training.config import Setting, TrainingConfig, read_settings

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float


@dataclass(frozen=True)
class Real:
    """A number from ``low`` to ``high``; ``log``: each factor of ten is as likely as the next."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)

    def suggest(self, trial: Trial, name: str) -> Value:
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)

    def suggest(self, trial: Trial, name: str) -> Value:
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of ``values``, all of one type."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise UserError("a list of choices is empty")
        if len(set(map(type, self.values))) > 1 or len(set(self.values)) < len(self.values):
            raise UserError(f"the choices {list(self.values)} must be of one type and each given once")

    def suggest(self, trial: Trial, name: str) -> Value:
        return cast(Value, trial.suggest_categorical(name, self.values))

    def holds(self, value: Any) -> bool:
        return value in self.values


Dimension = Real | Whole | Choice


@dataclass(frozen=True)
class SearchSpace:
    """The settings that tuning changes, each with what it may become, by their names in :class:`TrainingConfig`."""

    dimensions: Mapping[str, Dimension]

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """A value for every setting, as Optuna's sampler draws them."""
        return {name: dimension.suggest(trial, name) for name, dimension in self.dimensions.items()}

    def inside(self, config: TrainingConfig) -> dict[str, Value]:
        """The configuration's own values of the searched settings, without those that lie outside the space."""
        values = {name: getattr(config, name) for name in self.dimensions}
        return {name: value for name, value in values.items() if self.dimensions[name].holds(value)}

    @property
    def backbones(self) -> tuple[str, ...]:
        """Those searched; empty where the backbone is fixed elsewhere."""
        found = self.dimensions.get("backbone")
        return tuple(map(str, found.values)) if isinstance(found, Choice) else ()

    def without(self, names: Iterable[str]) -> Self:
        """The same space with these settings left to be fixed elsewhere."""
        left = set(names)
        return replace(self, dimensions={name: one for name, one in self.dimensions.items() if name not in left})

    def with_backbones(self, names: Iterable[str]) -> Self:
        """The same space over these backbones only."""
        return replace(self, dimensions={**self.dimensions, "backbone": Choice(tuple(dict.fromkeys(names)))})

    def overridden(self, document: Mapping[str, Any], source: str) -> Self:
        """This space with other dimensions in place: a list is choices, a table of low and high a range, and a
        plain value fixes the setting.

        Raises:
            UserError: a setting that does not exist, or bounds that make no sense; ``source`` tells where.
        """
        dimensions = dict(self.dimensions)
        for name, given in document.items():
            try:
                dimensions[name] = _dimension(given)
            except (UserError, TypeError) as error:
                raise UserError(f"{source}: {name}: {error}") from None
        space = replace(self, dimensions=dimensions)
        space.check(source)
        return space

    def from_file(self, path: Path) -> Self:
        """:meth:`overridden` by a TOML file. Raises UserError where it cannot be read or is wrong."""
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"the search space {path} cannot be read: {error}") from None
        return self.overridden(document, str(path))

    def check(self, source: str = "the search space") -> None:
        """Raises UserError unless every end of every dimension is a valid setting, and one leaves a choice."""
        if all(isinstance(one, Choice) and len(one.values) == 1 for one in self.dimensions.values()):
            raise UserError(f"{source} leaves nothing to search: every setting is fixed, by --config or --space")
        for name, dimension in self.dimensions.items():
            ends = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
            for value in ends:
                TrainingConfig().overridden({name: value}, source)


def _check_bounds(low: float, high: float, log: bool) -> None:
    if not low <= high:
        raise UserError(f"low is {low} and high is {high}; low must not be above high")
    if log and low <= 0:
        raise UserError(f"low is {low}; a logarithmic range starts above 0")


def _dimension(given: Any) -> Dimension:
    """What a TOML value says. Raises UserError or TypeError for one that says nothing."""
    if isinstance(given, dict):
        unknown = sorted(set(given) - {"low", "high", "log"})
        if unknown or not {"low", "high"} <= set(given):
            raise UserError("a range is written { low = 0.001, high = 0.1, log = true }")
        whole = isinstance(given["low"], int) and isinstance(given["high"], int)
        return Whole(**given) if whole else Real(**given)
    return Choice(tuple(given)) if isinstance(given, list) else Choice((given,))


SEARCH_SPACE = SearchSpace(
    {
        # Light enough for a function that answers in milliseconds; the heavier ones are asked for with --backbone.
        "backbone": Choice(("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0")),
        "learning_rate": Real(0.00003, 0.01, log=True),
        "weight_decay": Real(0.00001, 0.1, log=True),
        "batch_size": Choice((16, 32, 64)),
        "dropout": Real(0.0, 0.5),
        "fine_tune": Choice(("quarter", "half", "most", "all")),
        "epochs": Whole(6, 40, log=True),
        "optimizer": Choice(("adamw", "sgd")),
    }
)
"""What ``bucketlens model tune`` searches unless told otherwise."""


def search_of(
    config: Path | None, space: Path | None, backbones: Sequence[str], settings: Mapping[str, Setting]
) -> tuple[dict[str, Any], SearchSpace]:
    """What all trials share, the settings of ``config`` and the ``settings`` that are not None, and what is searched:
    the rest of :data:`SEARCH_SPACE`, or what the TOML file ``space`` says, over ``backbones`` if any are given.

    Raises:
        UserError: a file cannot be read, or a setting is wrong.
    """
    TrainingConfig.composed(config, settings)
    fixed = {
        **(read_settings(config) if config else {}),
        **{name: value for name, value in settings.items() if value is not None},
    }
    searched = SEARCH_SPACE.without(fixed)
    if space:
        searched = searched.from_file(space)
    return fixed, searched.with_backbones(backbones) if backbones else searched
