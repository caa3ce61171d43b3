"""From a converted run to the gate of ``publish``, and ``diff``: against S3 over HTTP, without any training."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bucketlens.cli.main import main
from classifier.bundle import ModelUri
from classifier.errors import UserError
from classifier.loader import BundleLoader
from model_build.bundles.bundling import ORIGIN_NAME
from model_build.bundles.packaging import package
from model_build.bundles.publish import publish_bundle
from model_build.choices import QuantizationChoice
from model_build.evaluation.gate import Check, GateLimits
from model_build.evaluation.opening import open_bundle
from tests.conftest import BUCKET, ROOT, Aws
from tests.support.bundles import LABELS
from tests.unit.model_build.photos import photo
from tests.unit.model_build.ready_runs import colour_photos, converted, ready_run

pytestmark = pytest.mark.slow

URI = f"s3://{BUCKET}/models/"
START = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    """A good bundle and a bad one, whose labels are those of other outputs, and where they come from."""

    data: Path
    good_run: Path
    bad_run: Path
    good: Path
    bad: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("gate")
    data = colour_photos(root / "photos")
    bundles = []
    for minutes, (name, labels) in enumerate({"good": LABELS, "bad": ("green", "red", "blue")}.items()):
        run = ready_run(root / name, data, labels)
        converted(run)
        bundles.append(root / "bundles" / name)
        when = START + timedelta(minutes=minutes)
        package(run, bundles[-1], quantization=QuantizationChoice.FLOAT32, now=lambda when=when: when)  # type: ignore[misc]
    return Made(data, root / "good", root / "bad", *bundles)


def checks(done: tuple[Check, ...]) -> dict[str, bool | None]:
    return {check.name: check.passed for check in done}


def test_a_good_bundle_passes_and_is_published_as_it_is(aws: Aws, made: Made, tmp_path: Path) -> None:
    done = publish_bundle(made.good, URI, aws.s3)
    assert checks(done.verdict.checks) == {
        "golden": True,
        "tensors": True,
        "accuracy": True,
        "recall": True,
        "live": None,
    }
    keys = aws.keys("models/")
    assert not [key for key in keys if ORIGIN_NAME in key or "forced" in key]
    loaded = BundleLoader(ModelUri.parse(URI), aws.s3).load()
    with zipfile.ZipFile(io.BytesIO(loaded.model)) as archive:
        assert archive.read("labels.txt").decode().split() == list(LABELS)


def test_the_bundle_carries_what_was_measured(made: Made) -> None:
    manifest = open_bundle(made.good).manifest
    metrics = manifest.metrics
    assert metrics["test"]["accuracy"] == metrics["validation"]["accuracy"] == 1.0
    assert manifest.output.temperature != 1.0
    assert manifest.review_threshold == metrics["review"]["value"]
    assert metrics["review"]["reached"] is True
    assert set(metrics["golden_tensors"]) == {name for name in manifest.files if name.endswith(".png")}
    assert metrics["gate"]["passed"] is True
    baseline = metrics["baseline"]
    assert sum(baseline["confidence"]) == sum(baseline["labels"].values()) == metrics["validation"]["images"]
    assert set(baseline["labels"]) == set(LABELS)
    assert [one["quantization"] for one in metrics["candidates"]] == ["float32", "float16", "dynamic", "int8"]
    # The page travels; where the photos lie on this machine does not.
    page = (made.good / "report.html").read_text()
    assert str(made.data) not in page
    assert str(made.data) not in (made.good / "manifest.json").read_text()
    assert page == (made.good_run / "report.html").read_text()
    assert "Deploy: it passes every check" in page
    bad = (made.bad / "report.html").read_text()
    assert "Do not deploy, because minimum accuracy: 33.3% of 15 test photos" in bad


def test_a_bad_bundle_is_refused_in_one_line_that_names_what_failed(aws: Aws, made: Made) -> None:
    live = publish_bundle(made.good, URI, aws.s3).version
    before = aws.keys("models/")
    for promote in (True, False):
        with pytest.raises(UserError) as refused:
            publish_bundle(made.bad, URI, aws.s3, promote=promote)
        told = str(refused.value)
        assert "\n" not in told
        assert "accuracy: 33.3% of 15 test photos are classified correctly; the minimum is 66.7%" in told
        assert "recall: below the minimum of 50%: green 0% of 5, red 0% of 5" in told
        assert f"live: 33.3% against 100.0% of the live {live} on the same 15 photos (0 won, 10 lost" in told
    assert aws.keys("models/") == before


def test_force_publishes_and_keeps_the_reason(aws: Aws, made: Made) -> None:
    publish_bundle(made.good, URI, aws.s3)
    would = publish_bundle(made.bad, URI, aws.s3, force="a test", dry_run=True)
    assert not [key for key in aws.keys("models/") if would.version in key]
    done = publish_bundle(made.bad, URI, aws.s3, force="the labels are swapped on purpose")
    assert json.loads(aws.read("models/current.json"))["version"] == done.version
    [record] = [key for key in aws.keys("models/forced/") if done.version in key]
    kept = json.loads(aws.read(record))
    assert kept["reason"] == "the labels are swapped on purpose"
    assert [check["name"] for check in kept["failed"]] == ["accuracy", "recall", "live"]


def test_limits_can_be_set(aws: Aws, made: Made) -> None:
    lenient = GateLimits(minimum_accuracy=0.3, recall_floor=0.0, margin=1.0)
    assert publish_bundle(made.bad, URI, aws.s3, limits=lenient).verdict.passed
    better = publish_bundle(made.good, URI, aws.s3)
    [live] = [check for check in better.verdict.checks if check.name == "live"]
    assert (live.passed, "(10 won, 0 lost" in live.detail) == (True, True)


def publish_over_live(aws: Aws, made: Made, bundle: Path, data: Path | None = None) -> Check:
    publish_bundle(made.bad, URI, aws.s3, force="something must be live")
    done = publish_bundle(bundle, URI, aws.s3, data=data, dry_run=True)
    return next(check for check in done.verdict.checks if check.name == "live")


def test_photos_that_have_gone_are_said_and_can_be_given(aws: Aws, made: Made, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(made.good, tmp_path / "bundle"))
    origin = json.loads((moved / ORIGIN_NAME).read_text())
    (moved / ORIGIN_NAME).write_text(json.dumps({**origin, "data": str(tmp_path / "gone")}))
    check = publish_over_live(aws, made, moved)
    assert check.passed is None
    assert "15 of the 15 test photos are no longer in" in check.detail
    assert publish_over_live(aws, made, moved, made.data).passed
    (moved / ORIGIN_NAME).unlink()
    assert "does not say where its test photos are" in publish_over_live(aws, made, moved).detail
    assert publish_over_live(aws, made, moved, made.data).passed


def test_changed_photos_are_no_comparison(aws: Aws, made: Made, tmp_path: Path) -> None:
    data = Path(shutil.copytree(made.data, tmp_path / "photos"))
    (data / "test" / "red" / "000.png").write_bytes(photo((230, 20, 20), seed=99))
    assert "the test photos have changed" in publish_over_live(aws, made, made.good, data).detail


def test_a_broken_live_version_does_not_block_its_repair(aws: Aws, made: Made) -> None:
    live = publish_bundle(made.bad, URI, aws.s3, force="something must be live").version
    aws.put(f"models/{live}/model.tflite", b"damaged")
    done = publish_bundle(made.good, URI, aws.s3)
    check = next(check for check in done.verdict.checks if check.name == "live")
    assert check.passed is None
    assert "it cannot be loaded: model.tflite is not what the manifest lists" in check.detail


def test_other_classes_over_a_live_version_need_force(aws: Aws, made: Made, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made.good, tmp_path / "bundle"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"labels": ["red", "green", "azure"], "version": manifest["version"].replace("T1015", "T1115")}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    publish_bundle(made.good, URI, aws.s3)
    with pytest.raises(
        UserError, match=r"classes: not those of the live \S+: it lacks 'blue', it adds 'azure'\. .*--force"
    ):
        publish_bundle(folder, URI, aws.s3, dry_run=True)
    uploaded = publish_bundle(folder, URI, aws.s3, dry_run=True, promote=False)
    verdicts = {check.name: (check.passed, check.detail) for check in uploaded.verdict.checks}
    assert verdicts["classes"][0] is None
    assert "it has different classes" in verdicts["live"][1]
    forced = publish_bundle(folder, URI, aws.s3, force="azure replaces blue")
    assert [check.name for check in forced.verdict.failed] == ["classes"]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bucketlens", "model", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_the_commands_tell_the_verdict(
    model: Callable[..., tuple[int, str, str]], aws: Aws, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    code, out, err = model("publish", made.good, "--to", URI)
    assert code == 0
    assert "gate: recall passed" in err
    good = out.strip()
    code, out, err = model("publish", made.bad, "--to", URI)
    assert (code, out) == (1, "")
    assert err.rstrip().split("\n")[-1].startswith("error: bad ")
    code, _, err = model("publish", made.bad, "--to", URI, "--force", " ")
    assert (code, "needs a reason" in err) == (1, True)
    code, out, err = model("publish", made.bad, "--to", URI, "--force", "on purpose")
    assert (code, "published by force: on purpose" in err) == (0, True)

    # Runs, bundles, versions and what is live are all models.
    bad = out.strip()
    names = [(made.good_run, made.bad_run), (made.good, made.bad), (good, bad), (f"{URI}{good}/", URI)]
    for a, b in names:
        code, out, err = model("diff", a, b, made.data / "test", "--at", URI, "--format", "json")
        assert code == 0, err
        found = json.loads(out)
        assert (found["photos"], found["changed"], found["won"], found["lost"]) == (15, 10, 0, 10)
    code, out, _ = model("diff", made.good, made.bad, made.data / "test", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {(row["label"], row["a"], row["b"]) for row in rows} == {("red", "red", "green"), ("green", "green", "red")}
    code, out, _ = model("diff", made.good, made.good_run, made.data / "test")
    assert out.startswith("0 of 15 photos change their label")
    code, out, err = model("diff", good, bad, made.data)
    assert (code, "say where it is published with --at" in err) == (1, True)


def test_diff_takes_loose_photos(model: Callable[..., tuple[int, str, str]], made: Made, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(photo((230, 20, 20)))
    (tmp_path / "broken.png").write_bytes(b"no photo")
    code, out, err = model("diff", made.good, made.bad, tmp_path)
    assert code == 0
    assert "1 of 1 photos change their label" in out
    assert "(0 become right, 0 become wrong)" in out
    assert "broken.png" in err


def test_evaluate_tells_machines_everything(model: Callable[..., tuple[int, str, str]], made: Made) -> None:
    code, out, _ = model("evaluate", made.bad, made.data, "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert (found["photos_used"], found["images"], found["accuracy"]) == (
        "the test folder",
        15,
        pytest.approx(1 / 3, abs=1e-6),
    )
    assert (len(found["worst"]), found["worst"][0]["photo"].split("/")[0]) == (10, "test")
    assert len(found["calibration"]["after"]["bins"]) == 15
    assert found["size_bytes"] > 0


_CONVERT = """
import sys
from pathlib import Path
from classifier.errors import UserError
from model_build.training.run import Run
from tests.unit.model_build.ready_runs import converted
try:
    converted(Run.open(Path(sys.argv[1])))
except UserError as error:
    sys.exit(f"error: {error}")
"""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ([sys.executable, "-c", _CONVERT], "the photos cannot be written for measuring: "),
        ([sys.executable, "-m", "bucketlens.cli.main", "model", "package", "--out", "bundle"], "cannot be written: "),
    ],
    ids=["convert", "package"],
)
def test_a_full_disk_is_one_clear_line_and_leaves_nothing_half_done(
    made: Made, tmp_path: Path, command: list[str], told: str
) -> None:
    run = Path(shutil.copytree(made.good_run, tmp_path / "run"))
    before = sorted(path.name for path in run.iterdir())
    # No file may grow over 1 KB: writing fails in the middle, as it does on a full disk.
    script = f"ulimit -f 2; exec {shlex.join([*command, str(run)])}"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}"}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    last = done.stderr.rstrip().split("\n")[-1]
    assert last.startswith("error: ")
    assert told in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()
    assert sorted(path.name for path in run.iterdir()) == before
