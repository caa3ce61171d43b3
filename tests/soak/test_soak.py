"""The function lives through thousands of bad days, makes every call it is allowed to, and no other."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.soak.campaign import Totals, soak
from tests.soak.permissions import grants_needed
from tests.soak.product import start
from tests.soak.simulation import run
from tests.template.checks.parameters import KEY
from tests.template.checks.policies import BUCKET_ARN, TABLE_ARN, as_list, grants, role_statements
from tests.template.document import Template, read_source

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
SEEDS = 2000
ARNS = {
    "bucket": BUCKET_ARN,
    "table": TABLE_ARN,
    "queue": "<Queue.Arn>",
    "dead letters": "<DeadLetterQueue.Arn>",
    "log group": "<ClassifierLogGroup.Arn>",
}


@pytest.fixture(scope="module")
def totals() -> Totals:
    found = Totals()
    for chunk in soak(0, SEEDS, float("inf"), os.cpu_count() or 1, keep_going=True):
        found.add(chunk)
    return found


def test_no_schedule_breaks_a_promise(totals: Totals) -> None:
    assert totals.schedules == SEEDS
    assert not totals.failures, f"replay with: python -m tests.soak --replay SEED; {totals.failures[:5]}"


def test_every_trouble_is_met(totals: Totals) -> None:
    """Nothing is proven by what never happens."""
    for name in ("kills", "disturbed", "deferrals", "redriven"):
        assert totals.counts[name] > SEEDS / 100, name


def test_work_is_repeated_only_for_what_was_lost(totals: Totals) -> None:
    spare = totals.counts["classifications"] - totals.counts["needed"]
    # What a kill loses is what was in flight, and what came to nothing is done again.
    assert spare < 8 * totals.counts["kills"] + totals.counts["disturbed"]


@pytest.mark.parametrize("seed", [3, 39, 191])
def test_a_seed_gives_the_same_run_in_any_process(seed: int) -> None:
    first = run(seed, start, tracing=True)
    assert run(seed, start, tracing=True) == first
    # Names hash otherwise there, so sets of them come in another order.
    command = [sys.executable, "-m", "tests.soak", "--replay", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "COLUMNS": "10000"}
    replayed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert replayed.stdout.splitlines()[: len(first.trace)] == [line.rstrip() for line in first.trace]


@pytest.mark.parametrize("key", [None, KEY])
def test_the_role_allows_every_call_and_nothing_else(totals: Totals, key: str | None) -> None:
    parameters, arns = ({}, ARNS) if key is None else ({"KmsKeyArn": key}, {**ARNS, "key": key})
    granted = grants(role_statements(Template(read_source()), RemoveDeleted="true", **parameters))
    needed = grants_needed(totals.calls, arns)
    assert granted - needed == set(), "never used"
    assert needed - granted == set(), "missing"


def test_without_any_statement_or_action_a_call_would_be_refused(totals: Totals) -> None:
    statements = role_statements(Template(read_source()), KmsKeyArn=KEY, RemoveDeleted="true")
    needed = grants_needed(totals.calls, {**ARNS, "key": KEY})
    for number, statement in enumerate(statements):
        for action in as_list(statement["Action"]):
            reduced: list[dict[str, Any]] = copy.deepcopy(statements)
            reduced[number]["Action"] = [one for one in as_list(statement["Action"]) if one != action]
            assert needed - grants(reduced), f"{statement['Sid']}: {action} is not missed"
