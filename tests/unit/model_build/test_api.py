"""The use cases: what every entrance gets, whichever it is."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

import model_build
from classifier.errors import UserError
from classifier.imaging import ResizePolicy
from model_build.choices import Resize
from model_build.training.config import TrainingConfig
from model_build.tuning.space import search_of
from model_build.tuning.studies import StudyPlace
from model_build.tuning.study_summary import start_from
from model_build.tuning.trials import Tuning, facts, usual_epochs
from model_build.tuning.tuner import tune
from tests.conftest import ROOT
from tests.unit.model_build.photos import write_photos
from tests.unit.model_build.tuning.helpers import FakeTrainer

pytestmark = pytest.mark.slow

USE_CASES = [name for name in model_build.__all__ if inspect.isfunction(getattr(model_build, name))]
PAGE = ROOT / "docs" / "python-api.md"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", {"red": 6, "green": 6})


@pytest.fixture
def studies(photos: Path, tmp_path: Path) -> Path:
    """A folder with the study ``colours``, of two trials that nobody trained."""
    folder = tmp_path / "studies"
    fixed, space = search_of(None, None, ["small_cnn"], {"image_size": 16})
    place = StudyPlace.of("colours", studies=folder)
    tuning = Tuning(place, space, fixed, 2, epochs=usual_epochs(photos), facts=facts(photos))
    tune(tuning, FakeTrainer())
    return folder


def calls(code: str) -> list[tuple[str, ast.Call]]:
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return [(node.func.id, node) for node in found if isinstance(node.func, ast.Name) and node.func.id in USE_CASES]


def check(code: str) -> set[str]:
    """Every call of a use case in ``code`` has arguments that it takes; returns the use cases."""
    for name, call in calls(code):
        parameters = inspect.signature(getattr(model_build, name)).parameters
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        settings = {str(one) for one in named if one not in parameters}
        assert not settings or settings <= TrainingConfig.__dataclass_fields__.keys(), (name, settings)
        inspect.signature(getattr(model_build, name)).bind(*call.args, **named)  # type: ignore[arg-type]
    return {name for name, _ in calls(code)}


@pytest.mark.parametrize("name", [name for name in USE_CASES if name != "write_sample_data"])
def test_every_use_case_has_an_example_that_fits_it(name: str) -> None:
    example = re.search(r"Example: ``(.+)``", inspect.getdoc(getattr(model_build, name)) or "")
    assert example
    assert name in check(example[1])


def test_the_page_shows_every_use_case_as_it_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert {one for block in re.findall(r"```python\n(.+?)```", text, re.DOTALL) for one in check(block)} == set(
        USE_CASES
    )


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="trian"):
        model_build.trian  # noqa: B018


def test_the_words_for_resizing_are_the_functions() -> None:
    assert [one.value for one in Resize] == [one.value for one in ResizePolicy]


def test_a_study_is_looked_for_where_it_is_said_to_be(
    studies: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, found = start_from(None, "colours", None, studies)
    assert isinstance(given, dict)
    assert found
    assert given["image_size"] == 16
    monkeypatch.chdir(tmp_path / "photos")  # the default folder of studies is another one here
    with pytest.raises(UserError, match="colours"):
        model_build.train(photos, tmp_path / "run", best_of="colours")
    with pytest.raises(UserError, match="nowhere"):  # the study is found, the photos are not
        model_build.train(tmp_path / "nowhere", tmp_path / "run", best_of="colours", studies=studies)


def test_config_and_best_of_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--config and --best-of"):
        model_build.train("photos", tmp_path / "run", config=tmp_path / "a.toml", best_of="colours")


def test_the_best_run_of_a_study_is_noted_as_any_run_is(
    studies: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BUCKETLENS_CACHE", str(tmp_path / "cache"))
    done = model_build.tune(photos, "colours", trials=2, backbones=["small_cnn"], studies=studies, image_size=16)
    assert done.best_run
    assert json.loads((done.best_run / "inspection.json").read_text())["photos"] == 12
    assert json.loads((done.best_run / "tuning.json").read_text())["study"] == "colours"
    assert done.page.is_file()
