"""``bucketlens model tune`` with real trainings: processes that are killed, and processes that share a study."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from model_build.training.run import Run
from model_build.tuning.studies import StudyPlace, load_study
from model_build.tuning.study_summary import best_of
from tests.unit.model_build.photos import write_photos

pytestmark = pytest.mark.slow

# Small photos and one epoch: what is tested is the study, not what it learns.
_SPACE = """
backbone = "small_cnn"
epochs = 1
batch_size = [8, 16]
fine_tune = "all"
weight_decay = { low = 0.0001, high = 0.01, log = true }
"""
_KILLED_IN_ITS_FIRST_EPOCH = """
import os, signal, sys
from pathlib import Path
from model_build.tuning.space import SEARCH_SPACE
from model_build.tuning.studies import StudyPlace
from model_build.training.observers import Watcher
from model_build.tuning.trials import Tuning, facts, photo_trainer
from model_build.tuning.tuner import tune

class Kill(Watcher):
    def trial_epoch(self, number, epoch, of, accuracy):
        os.kill(os.getpid(), signal.SIGKILL)

photos, space, studies = map(Path, sys.argv[1:])
place = StudyPlace.of("small", studies=studies)
what = Tuning(place, SEARCH_SPACE.from_file(space), {"image_size": 16}, trials=3, facts=facts(photos))
tune(what, photo_trainer(photos, {}), watcher=Kill())
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "colours", {"red": 10, "green": 10, "blue": 10})


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(_SPACE)
    return path


def _command(photos: Path, space: Path, studies: Path, trials: int) -> list[str]:
    arguments = ["bucketlens", "model", "tune", str(photos), "--study", "small", "--studies", str(studies)]
    arguments += ["--space", str(space), "--image-size", "16", "--trials", str(trials)]
    program = "import sys; del sys.argv[0]; from bucketlens.cli.main import main; main()"
    return [sys.executable, "-c", program, *arguments]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "160"})


def _states(studies: Path) -> list[TrialState]:
    return [trial.state for trial in load_study(StudyPlace.of("small", studies=studies)).trials]


def test_a_killed_study_goes_on_with_the_trial_it_was_killed_in(photos: Path, space: Path, tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    paths = [str(path) for path in (photos, space, studies)]
    killed = _run([sys.executable, "-c", _KILLED_IN_ITS_FIRST_EPOCH, *paths])
    assert killed.returncode == -signal.SIGKILL
    assert _states(studies)[0] is TrialState.RUNNING
    interrupted = load_study(StudyPlace.of("small", studies=studies)).trials[0].params

    done = _run(_command(photos, space, studies, 3))
    assert done.returncode == 0, done.stderr
    assert "best validation accuracy" in done.stdout
    place = StudyPlace.of("small", studies=studies)
    study = load_study(place)
    ended = [trial for trial in study.trials if trial.state is not TrialState.FAIL]
    assert [trial.state for trial in ended] == [TrialState.COMPLETE] * 3
    assert sum(trial.params == interrupted for trial in ended) == 1
    assert not list(place.workers.iterdir())

    page = (place.folder / "tuning.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")
    summary: dict[str, Any] = json.loads((place.folder / "tuning.json").read_text())
    assert len(summary["trials"]) == 3
    (folder,) = place.runs.iterdir()
    run = Run.open(folder)
    assert run.record.validation["accuracy"] == summary["best"]["accuracy"] == study.best_value
    # What the study says is what the run was trained with.
    assert json.loads((folder / "tuning.json").read_text()) == summary
    again = best_of("small", studies=studies).config
    assert (again.learning_rate, again.epochs, again.image_size) == (run.config.learning_rate, 1, 16)


def test_two_processes_share_a_study(photos: Path, space: Path, tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    command = _command(photos, space, studies, 3)
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=280) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], told
    # Whoever ends first waits for the other's trial: both know the whole study.
    assert told[0][0] == told[1][0]
    study = load_study(StudyPlace.of("small", studies=studies))
    trials = [trial for trial in study.trials if not trial.user_attrs.get("surplus")]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len({trial.params["learning_rate"] for trial in trials}) == 3
