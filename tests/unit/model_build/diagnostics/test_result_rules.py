"""The rules on plain numbers, those about losses, classes and time: where each begins to fire, what keeps it silent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model_build.diagnostics.class_rules import ChanceLevel, ClassImbalance, Confusion
from model_build.diagnostics.diagnosis import Severity
from model_build.diagnostics.facts import EpochFacts, History, RunFacts
from model_build.diagnostics.loss_rules import LossNotDecreasing, Overfit, Overtraining
from model_build.diagnostics.step_time import InputBound, step_times
from tests.unit.model_build.diagnostics.histories import epochs, steps


class TestLossNotDecreasing:
    def test_flat(self) -> None:
        finding = LossNotDecreasing().check(History(steps=steps(*(2.0,) * 30)))
        assert finding is not None
        assert (finding.severity, finding.since) == (Severity.ERROR, "step 11")

    def test_up_again(self) -> None:
        falling = [2.0 - 0.05 * step for step in range(30)]
        finding = LossNotDecreasing().check(History(steps=steps(*falling, *(1.5,) * 10)))
        assert finding is not None
        assert finding.severity is Severity.WARNING

    def test_a_plateau_is_a_note(self) -> None:
        finding = LossNotDecreasing().check(History(steps=steps(*(2.0,) * 10, *(1.0,) * 30)))
        assert finding is not None
        assert (finding.severity, finding.since) == (Severity.NOTE, "step 21")

    def test_two_windows_are_too_few(self) -> None:
        assert LossNotDecreasing().check(History(steps=steps(*(2.0,) * 20))) is None

    def test_noise_on_the_way_down(self) -> None:
        noisy = [2.0 - 0.02 * step + (0.3 if step % 2 else -0.3) for step in range(50)]
        assert LossNotDecreasing().check(History(steps=steps(*noisy))) is None

    def test_a_new_phase_may_start_higher(self) -> None:
        first = steps(*(2.0 - 0.05 * step for step in range(30)))
        second = [replace(step, phase="second", number=step.number + 30) for step in first]
        assert LossNotDecreasing().check(History(steps=[*first, *second])) is None


def judged(*confusion: tuple[int, ...]) -> list[EpochFacts]:
    return [EpochFacts(1, "finetune", 1.6, 1.6, best=True, confusion=confusion)]


class TestChanceLevel:
    def test_a_model_that_guesses_is_told_so_and_what_to_do(self) -> None:
        finding = ChanceLevel().check(History(epochs=judged((20, 0), (20, 0))))
        assert finding is not None
        assert finding.severity is Severity.ERROR
        assert finding.evidence["validation photos classified correctly"] == "20 of 40"
        assert "no better than guessing" in finding.meaning
        assert "pretrained network" in finding.advice

    def test_too_few_photos_to_tell_are_a_warning(self) -> None:
        finding = ChanceLevel().check(History(epochs=judged((4, 1), (2, 3))))
        assert finding is not None
        assert finding.severity is Severity.WARNING

    def test_a_model_that_knows_something_is_silent(self) -> None:
        assert ChanceLevel().check(History(epochs=judged((18, 2), (3, 17)))) is None
        assert ChanceLevel().check(History(epochs=judged((0, 0), (0, 0)))) is None

    def test_a_flat_loss_is_judged_by_it(self) -> None:
        flat = steps(*(2.0,) * 30)
        guessing = LossNotDecreasing().check(History(steps=flat, epochs=judged((20, 0), (20, 0))))
        knowing = LossNotDecreasing().check(History(steps=flat, epochs=judged((20, 0), (0, 20))))
        assert guessing is not None
        assert knowing is not None
        assert (guessing.severity, knowing.severity) == (Severity.ERROR, Severity.NOTE)
        assert "that of guessing" in guessing.meaning
        assert "pretrained network" in guessing.advice
        assert "it knew before" in knowing.meaning
        unsure = LossNotDecreasing().check(History(steps=flat, epochs=judged((15, 5), (5, 15))))
        assert unsure is not None
        assert unsure.severity is Severity.ERROR
        assert "guessing" not in unsure.meaning


class TestOverfit:
    def test_a_gap_is_a_note_while_the_validation_loss_falls(self) -> None:
        finding = Overfit().check(History(epochs=epochs((1.0, 1.0), (0.8, 0.9), (0.5, 0.8))))
        assert finding is not None
        assert (finding.severity, finding.since) == (Severity.NOTE, "epoch 2")

    def test_and_a_warning_once_that_has_risen(self) -> None:
        finding = Overfit().check(History(epochs=epochs((1.0, 1.0), (0.5, 0.8), (0.2, 1.0))))
        assert finding is not None
        assert finding.severity is Severity.WARNING

    def test_patience(self) -> None:
        assert Overfit().check(History(epochs=epochs((1.0, 1.0), (0.8, 0.8), (0.5, 0.8)))) is None

    def test_within_the_threshold(self) -> None:
        assert Overfit().check(History(epochs=epochs((1.0, 1.09), (0.8, 0.87), (0.5, 0.54)))) is None

    def test_only_the_last_phase_counts(self) -> None:
        head = [replace(epoch, phase="head") for epoch in epochs(*((0.5, 1.0),) * 12)]
        fine = [replace(epoch, number=epoch.number + 12) for epoch in epochs((1.0, 1.1), (0.9, 0.95), (0.8, 0.85))]
        history = History(epochs=[*head, *fine])
        assert Overfit().check(history) is None
        assert Overtraining().check(history) is None
        assert Overfit().check(History(epochs=head)) is not None
        assert Overtraining().check(History(epochs=head)) is not None


class TestOvertraining:
    def test_the_validation_loss_stands_for_ten_epochs(self) -> None:
        history = History(epochs=epochs(*((1.0 - 0.05 * epoch, 0.5) for epoch in range(11))))
        finding = Overtraining().check(history)
        assert finding is not None
        assert (finding.severity, finding.since) == (Severity.WARNING, "epoch 1")

    def test_both_stand_for_five(self) -> None:
        finding = Overtraining().check(History(epochs=epochs((1.0, 1.0), *((0.5, 0.5),) * 6)))
        assert finding is not None
        assert (finding.severity, finding.since) == (Severity.NOTE, "epoch 2")

    def test_while_the_validation_loss_improves(self) -> None:
        history = History(epochs=epochs(*((0.5, 1.0 - 0.02 * epoch) for epoch in range(12))))
        assert Overtraining().check(history) is None


class TestClassImbalance:
    RUN = RunFacts(("common", "rare"), (110, 10))

    def test_over_ten_to_one(self) -> None:
        finding = ClassImbalance().check(History(run=self.RUN))
        assert finding is not None
        assert finding.severity is Severity.WARNING

    def test_ten_to_one_is_accepted(self) -> None:
        assert ClassImbalance().check(History(run=RunFacts(("common", "rare"), (100, 10)))) is None

    def test_equal_classes_that_are_mispredicted_are_not_called_rare(self) -> None:
        judged = EpochFacts(1, "finetune", 1.0, 1.0, best=True, confusion=((0, 20), (0, 20)))
        history = History(run=RunFacts(("a", "b"), (20, 20)), steps=steps(*(1.0,) * 99), epochs=[judged])
        finding = ClassImbalance().check(history)
        assert finding is not None
        assert "far fewer photos" in finding.meaning

    def test_weights_make_it_a_note(self) -> None:
        finding = ClassImbalance().check(History(run=replace(self.RUN, weighted=True)))
        assert finding is not None
        assert finding.severity is Severity.NOTE

    @pytest.mark.parametrize(("trained", "fires"), [(62, False), (63, True)])
    def test_mispredictions_count_after_500_labels(self, trained: int, fires: bool) -> None:
        judged = EpochFacts(1, "finetune", 1.0, 1.0, best=True, confusion=((20, 0), (8, 2)))
        history = History(run=RunFacts(("a", "b"), (20, 20)), steps=steps(*(1.0,) * trained), epochs=[judged])
        finding = ClassImbalance().check(history)
        assert (finding is not None) == fires
        if finding is not None:
            assert finding.evidence["share mispredicted"] == "b 80%"


class TestConfusion:
    RUN = RunFacts(("cat", "dog", "car"), (50, 50, 50))

    def check(self, *rows: tuple[int, ...]) -> Severity | None:
        judged = EpochFacts(3, "finetune", 1.0, 1.0, best=True, confusion=rows)
        finding = Confusion().check(History(run=self.RUN, epochs=[judged]))
        return None if finding is None else finding.severity

    def test_clean(self) -> None:
        assert self.check((48, 2, 0), (2, 48, 0), (0, 0, 50)) is None

    def test_beyond_chance(self) -> None:
        assert self.check((30, 20, 0), (20, 30, 0), (0, 0, 50)) is Severity.WARNING

    def test_few_photos_say_little(self) -> None:
        assert self.check((6, 1, 0), (0, 6, 0), (0, 0, 7)) is Severity.NOTE

    def test_judges_the_weights_that_are_kept(self) -> None:
        best = EpochFacts(1, "finetune", 1.0, 1.0, best=True, confusion=((50, 0), (0, 50)))
        later = EpochFacts(2, "finetune", 1.0, 2.0, confusion=((0, 50), (50, 0)))
        assert Confusion().check(History(run=self.RUN, epochs=[best, later])) is None

    def test_a_class_that_is_never_called(self) -> None:
        assert self.check((50, 0, 0), (50, 0, 0), (0, 0, 50)) is Severity.WARNING


class TestStepTime:
    def test_input_bound_above_half_the_time(self) -> None:
        assert InputBound().check(History(steps=steps(*(1.0,) * 10, wait=0.06, compute=0.04))) is not None
        assert InputBound().check(History(steps=steps(*(1.0,) * 10, wait=0.04, compute=0.06))) is None

    def test_the_first_two_steps_compile(self) -> None:
        slow = [replace(step, compute_seconds=30.0) for step in steps(1.0, 1.0)]
        rest = steps(*(1.0,) * 8, wait=0.06, compute=0.04)
        (profile,) = step_times(History(steps=[*slow, *rest]))
        assert profile.verdict == "input-bound"
        assert profile.images_per_second == pytest.approx(80.0)
        assert profile.start_seconds == pytest.approx(60.02)
        assert profile.wait_ms == pytest.approx(60.0)
        assert profile.compute_ms == pytest.approx(40.0)

    def test_outliers_lie_five_standard_deviations_above(self) -> None:
        usual = steps(*(1.0,) * 60)
        usual[40] = replace(usual[40], compute_seconds=5.0)
        assert step_times(History(steps=usual))[0].outliers == 1
