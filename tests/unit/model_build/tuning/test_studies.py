"""Names, places and databases of studies, and what is said when one is not there."""

from __future__ import annotations

import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from classifier.errors import UserError
from model_build.choices import BACKBONES
from model_build.tuning.space import Value
from model_build.tuning.studies import StudyPlace, create_study, forget, is_known_dead, load_study, worker
from model_build.tuning.study_html import parallel_coordinates, section, write_pages
from model_build.tuning.study_summary import StudySummary, TrialRow, best_of, best_settings, summary_of
from model_build.tuning.tuner import tune
from tests.unit.model_build.tuning.helpers import FakeTrainer, quality, tuning

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["", "a_b", "a/b", "..", "-a", "a-", "x" * 33])
def test_a_name_suits_sagemaker_and_file_systems(name: str) -> None:
    with pytest.raises(UserError, match="is not a valid study name"):
        StudyPlace.of(name)


def test_the_database_lies_in_the_folder_unless_another_is_given(tmp_path: Path) -> None:
    assert StudyPlace.of("a", studies=tmp_path).storage == f"sqlite:///{tmp_path}/a/study.db"
    assert StudyPlace.of("a", "mysql://host/db").database is None
    with pytest.raises(UserError, match="is not a database URL"):
        StudyPlace.of("a", "studies.db")


def test_an_unknown_study_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown study 'birds'; there are none"):
        load_study(StudyPlace.of("birds", studies=tmp_path))
    assert list(tmp_path.iterdir()) == []
    for name in ("cats", "dogs"):
        create_study(StudyPlace.of(name, studies=tmp_path))
    with pytest.raises(UserError, match=r"unknown study 'birds'; there are cats, dogs$"):
        load_study(StudyPlace.of("birds", studies=tmp_path))
    shared = f"sqlite:///{tmp_path}/shared.db"
    create_study(StudyPlace.of("fish", shared, tmp_path))
    with pytest.raises(UserError, match=r"unknown study 'birds'; there are fish$"):
        load_study(StudyPlace.of("birds", shared, tmp_path))


def test_a_study_without_a_finished_trial_has_no_best_settings(tmp_path: Path) -> None:
    study = create_study(StudyPlace.of("empty", studies=tmp_path))
    with pytest.raises(UserError, match="the study 'empty' has no finished trial yet"):
        best_settings(study)
    findings = summary_of(study)
    assert (findings.best, findings.importance, findings.trials) == (None, {}, ())


def test_what_is_no_database_of_a_study_is_told_without_the_password(tmp_path: Path) -> None:
    place = StudyPlace.of("a", studies=tmp_path)
    place.folder.mkdir()
    (place.folder / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="cannot be opened"):
        create_study(place)
    with pytest.raises(UserError) as error:
        create_study(StudyPlace.of("a", "nosuchdatabase://me:secret@host/db", tmp_path))
    assert "nosuchdatabase://me:***@host/db cannot be opened" in str(error.value)
    assert "secret" not in str(error.value)
    old = tmp_path / "old.db"
    with sqlite3.connect(old) as connection:
        connection.execute("create table version_info (version_info_id integer, schema_version integer)")
    connection.close()
    with pytest.raises(UserError, match="cannot be opened"):
        create_study(StudyPlace.of("a", f"sqlite:///{old}", tmp_path))


@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used with:UserWarning")
def test_each_waiting_trial_is_taken_once(tmp_path: Path) -> None:
    place = StudyPlace.of("shared", studies=tmp_path)
    study = create_study(place)
    for number in range(24):
        study.enqueue_trial({"number": number})

    def take(_: int) -> list[int]:
        mine = load_study(place)
        return [mine.ask().number for _ in range(8)]

    with ThreadPoolExecutor(3) as pool:
        taken = [number for numbers in pool.map(take, range(3)) for number in numbers]
    assert sorted(taken) == list(range(24))


def test_a_lock_tells_the_living_from_the_killed(tmp_path: Path) -> None:
    with worker(tmp_path) as name:
        assert not is_known_dead(tmp_path, name)
    assert not is_known_dead(tmp_path, name)  # it ended well, and took its file along
    (tmp_path / "killed.lock").touch()
    assert is_known_dead(tmp_path, "killed")
    forget(tmp_path, "killed")
    assert not is_known_dead(tmp_path, "killed")


def test_the_page_shows_what_was_learnt_and_needs_no_other_file(tmp_path: Path) -> None:
    done = tuning(tmp_path, trials=7)
    findings = tune(done, FakeTrainer())
    write_pages(findings, done.place)
    page = (done.place.folder / "tuning.html").read_text()
    document = json.loads((done.place.folder / "tuning.json").read_text())
    assert StudySummary.from_document(document) == findings
    assert page.count("<svg") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert findings.best is not None
    assert f"{findings.best.accuracy:.1%}" in page
    for words in ("learning rate", "Which settings matter", "All trials", "rough estimate"):
        assert words in page
    assert page.count("<tr>") >= len(findings.trials)


def trial(number: int, accuracy: float, *, defaults: bool = False) -> TrialRow:
    params: dict[str, Value] = {
        "backbone": "mobilenet_v3_large",
        "learning_rate": 0.001 * (number + 1),
        "optimizer": "adamw",
    }
    return TrialRow(number, "complete", accuracy, params, 9, 60.0, defaults=defaults)


@pytest.mark.parametrize(
    ("trials", "verdict"),
    [
        (
            (trial(0, 0.84, defaults=True), trial(1, 0.85, defaults=True), trial(2, 0.871)),
            "Use the settings of trial 2: 87.1%, 2.1 points more than with the defaults.",
        ),
        (
            (trial(0, 0.85, defaults=True), trial(1, 0.853)),
            "Keep the defaults: tuning has gained 0.3 points over them, which may be chance.",
        ),
        ((trial(1, 0.853),), "Trial 1 is the best (85.3%); no trial with the defaults has completed."),
        ((), "There is no result: no trial has completed."),
    ],
)
def test_the_page_begins_with_what_to_do(trials: tuple[TrialRow, ...], verdict: str) -> None:
    best = max(trials, key=lambda row: row.accuracy or 0, default=None)
    page = "".join(section(StudySummary("flowers", best, {}, trials), Path("studies/flowers/runs/trial-0002")))
    assert page.startswith('<div class="verdict')
    assert verdict in page
    if trials:
        assert "bucketlens model convert studies/flowers/runs/trial-0002" in page
        assert "bucketlens model train DATA --out runs/flowers --best-of flowers" in page


def test_no_word_of_the_first_axis_is_cut() -> None:
    rows = [replace(trial(number, 0.8), params={"backbone": name}) for number, name in enumerate(BACKBONES)]
    drawing = parallel_coordinates(StudySummary("flowers", rows[0], {}, tuple(rows)))
    places = re.findall(r'<text class="tick over" x="([\d.-]+)"[^>]* text-anchor="end">([^<]*)<', drawing)
    assert {word for _, word in places} == set(BACKBONES)
    assert all(float(x) >= 6.5 * len(word) for x, word in places)


def test_a_training_takes_the_settings_of_the_best_trial_and_what_the_study_says(tmp_path: Path) -> None:
    done = tuning(tmp_path, trials=3)
    findings = tune(done, FakeTrainer())
    best = best_of("study", studies=tmp_path)
    assert findings.best is not None
    assert quality(best.config) == findings.best.accuracy
    run = tmp_path / "run"
    run.mkdir()
    best.note(run)
    assert json.loads((run / "tuning.json").read_text())["best"]["number"] == findings.best.number
    with pytest.raises(UserError, match="unknown study 'other'; there are study"):
        best_of("other", studies=tmp_path)
