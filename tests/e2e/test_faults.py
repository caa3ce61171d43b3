"""Every call the function makes, spoiled in every way: each image still ends as one item and its JSON."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.e2e.conftest import Application, behind_a_proxy
from tests.support.images import png
from tests.support.processes import kill_functions
from tests.support.proxy import Fault, FaultProxy, Rule, Rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RECORDING = ("GetObject", "PutItem", "PutObject")
REPLACING = (*RECORDING, "HeadObject", "GetItem")
MODEL_FILES = ("current.json", "manifest.json", "model.tflite")
# As often as a call is tried (three retries): then the call fails, and the image comes back.
TRIES = 4
# A stall takes the client's read timeout, 8 s: once is enough to see that it is survived.
TIMES = [(fault, times) for fault in Fault for times in (1, TRIES) if (fault, times) != (Fault.STALL, TRIES)]


def spoiled(application: Application, proxy: FaultProxy, rules: list[Rule], dropped: dict[str, bytes]) -> None:
    """Drop images while the rules hold, and wait until all is done. Every rule has to have been used."""
    proxy.plan = Rules(rules)
    for key, data in dropped.items():
        application.stack.aws.s3.put_object(Bucket=application.stack.bucket, Key=key, Body=data)
    application.drained(300)
    assert [f"{rule}" for rule in rules if not rule.used] == []
    assert application.waiting(application.stack.dead_letter_queue_url) == 0


def test_every_call_for_an_image_spoiled_in_every_way(tmp_path: Path) -> None:
    with behind_a_proxy(tmp_path, parameters={"Timeout": "30"}, retry_after_seconds=1, workers=2) as (
        application,
        proxy,
    ):
        expected: dict[str, str] = {}
        for operations, colour in ((RECORDING, "red"), (REPLACING, "blue")):
            names = {case: f"{case[0]}-{case[1][0]}-{case[1][1]}.png" for case in product(REPLACING, TIMES)}
            rules = [Rule(case[0], name, *case[1]) for case, name in names.items() if case[0] in operations]
            # What failed halfway is sent again, to come back when nobody may still be at it.
            rules += [Rule("SendMessageBatch", "", fault) for fault in Fault]
            dropped = {f"incoming/{name}": png(colour, seed=n) for n, name in enumerate(names.values())}
            spoiled(application, proxy, rules, dropped)
            expected |= dict.fromkeys(dropped, colour)
            assert application.wrong(expected) == []


def test_every_file_of_a_model_spoiled_in_every_way(tmp_path: Path) -> None:
    with behind_a_proxy(tmp_path, parameters={"BatchWindowSeconds": "1"}, retry_after_seconds=0, workers=1) as (
        application,
        proxy,
    ):
        expected: dict[str, str] = {}
        # To a reader, a reset and a lost answer are the same.
        for fault, colour in zip(
            (Fault.CUT, Fault.STALL, Fault.RESET, Fault.REFUSE), ("red", "green", "blue", "red"), strict=True
        ):
            # The next function loads its model anew.
            application.drained(60)
            assert kill_functions() <= 1
            rules = [Rule("GetObject", name, fault, TRIES if fault is Fault.REFUSE else 1) for name in MODEL_FILES]
            key = f"incoming/{fault}.png"
            spoiled(application, proxy, rules, {key: png(colour)})
            expected[key] = colour
        assert application.wrong(expected) == []
