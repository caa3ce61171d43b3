from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.errors import UserError
from model_build.training.backbones import build_backbone, find_backbone
from model_build.training.weights import configured, identify, load_weights, resolve_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of MobileNetV2 with alpha 0.35."""
    path = tmp_path_factory.mktemp("weights") / "narrow.weights.h5"
    build_backbone(find_backbone("mobilenet_v2"), size=32, alpha=0.35).save_weights(path)
    return path


def test_weights_come_back_at_any_image_size(narrow: Path) -> None:
    first, second = (build_backbone(find_backbone("mobilenet_v2"), size=size, alpha=0.35) for size in (32, 64))
    load_weights(first, narrow, "mobilenet_v2")
    load_weights(second, narrow, "mobilenet_v2")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_another_network_are_told_in_one_line(narrow: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_weights(build_backbone(find_backbone("mobilenet_v2"), size=32), narrow, "mobilenet_v2 with alpha 1")
    assert str(caught.value) == (
        f"{narrow} does not hold weights for the backbone mobilenet_v2 with alpha 1;"
        " they fit --backbone mobilenet_v2 --alpha 0.35"
    )


def test_the_network_is_found_from_its_weights(narrow: Path) -> None:
    assert identify(narrow) == ("mobilenet_v2", 0.35)
    assert identify(narrow, ("small_cnn",)) is None
    for name, alpha in ((None, 0.0), ("mobilenet_v2", 0.0), ("mobilenet_v2", 0.35)):
        backbone, found = resolve_network(name, alpha, narrow)
        assert (backbone.name, found) == ("mobilenet_v2", 0.35)
    assert resolve_network("mobilenet_v2", 0.5, narrow)[1] == 0.5  # asked for: loading refuses it
    assert resolve_network(None, 0.0, None)[0].name == "small_cnn"
    assert resolve_network("mobilenet_v2", 0.0, None)[1] == 1.0


def test_an_alpha_for_a_network_of_one_width_is_refused() -> None:
    with pytest.raises(UserError, match="resnet50 has a single width"):
        resolve_network("resnet50", 0.5, None)


def test_a_file_that_holds_no_weights_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"x\.weights\.h5 does not hold weights"):
        resolve_network("mobilenet_v2", 0.0, path)
    with pytest.raises(UserError, match="do not exist"):
        resolve_network(None, 0.0, tmp_path / "gone.weights.h5")


def test_weights_decide_a_network_that_nothing_else_names(narrow: Path, tmp_path: Path) -> None:
    """Alike with a configuration file, with a study's settings and with neither."""
    file = tmp_path / "settings.toml"
    file.write_text("epochs = 5\n")
    for settings in (file, {"epochs": 5}, None):
        config = configured(settings, {"backbone": None}, narrow)
        assert (config.backbone, config.alpha) == ("mobilenet_v2", 0.35)
        assert config.epochs == (0 if settings is None else 5)
    assert configured({"alpha": 0.5}, {"alpha": 0.75}, narrow).alpha == 0.75
    assert configured({"backbone": "resnet50"}, {}, narrow).backbone == "resnet50"
    assert configured({"backbone": "resnet50"}, {"backbone": "xception"}, narrow).backbone == "xception"
