from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from classifier.errors import UserError
from model_build.training.checkpoints import TrainingState, partial_run
from model_build.training.observers import Epoch


def _state(number: int = 1) -> TrainingState:
    return TrainingState(
        history=[Epoch(number, 1.5, 1.2, 0.5, True)],
        model=[np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3)],
        optimizer=[np.array(7)],
        best=[np.ones(20_000, dtype=np.float32)],
        observers=[{"seen": [1]}],
    )


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    before = _state()
    before.write(tmp_path / "state")
    after = TrainingState.read(tmp_path / "state")
    assert (after.history, after.observers, after.best_loss) == (before.history, before.observers, float("inf"))
    for group in ("model", "optimizer", "average", "best"):
        for one, other in zip(getattr(before, group), getattr(after, group), strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype


def test_a_full_disk_leaves_the_state_before(tmp_path: Path) -> None:
    _state(1).write(tmp_path / "state")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            _state(2).write(tmp_path / "state")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert TrainingState.read(tmp_path / "state").history[0].number == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_damaged_state_tells_how_to_start_over(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match="remove that folder to start over"):
        TrainingState.read(tmp_path / "state")


def test_a_training_begun_before_a_setting_was_removed_goes_on(tmp_path: Path) -> None:
    begun = {"epochs": 3, "mix": 0.0}
    with pytest.raises(KeyboardInterrupt), partial_run(tmp_path / "run") as partial:
        assert partial.state(begun) is None
        partial.save(_state())
        raise KeyboardInterrupt
    with partial_run(tmp_path / "run") as partial:
        found = partial.state({"epochs": 3})
        assert found is not None
        assert found.history == _state().history
        with pytest.raises(UserError, match="epochs was 3, is now 4"):
            partial.state({"epochs": 4})
