"""``bucketlens model inspect`` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BUCKET, Aws
from tests.unit.model_build.inspection.scenes import encoded, scene, scenes, write

pytestmark = pytest.mark.slow


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "bucketlens"), "model", "inspect", *words],
        env={"PATH": os.defpath, "HOME": str(cwd / "home"), "AWS_EC2_METADATA_DISABLED": "true", **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def spoiled(root: Path) -> Path:
    files = scenes({"train/a": 24, "train/b": 24, "test/a": 12, "test/b": 12})
    files["test/b/leak.png"] = files["train/b/000.png"]
    files["train/a/broken.jpg"] = b"\xff\xd8\xff broken"
    return write(root, files)


def test_findings_are_printed_and_written_and_are_no_failure(tmp_path: Path) -> None:
    spoiled(tmp_path / "photos")
    done = run("photos", "--out", "report.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Not ready for training." in done.stdout
    assert "1 of 25 photos that validate or test has exact copies" in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[-1] == "report: report.html"
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "test/b/leak.png" in report
    assert "image.corrupt" in report
    assert (tmp_path / "home" / ".cache" / "bucketlens" / "inspection.sqlite3").is_file()


def test_json_is_alone_on_standard_output(tmp_path: Path) -> None:
    spoiled(tmp_path / "photos")
    done = run("photos", "--format", "json", "--cache", "kept", cwd=tmp_path)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["source"] == "photos"
    assert document["findings"][0]["code"] == "leak.exact"
    assert done.stderr == "report: inspection.html\n"
    assert (tmp_path / "inspection.html").is_file()
    assert (tmp_path / "kept" / "inspection.sqlite3").is_file()


def test_a_home_that_cannot_be_written_is_told_and_no_obstacle(tmp_path: Path) -> None:
    spoiled(tmp_path / "photos")
    (tmp_path / "home").write_bytes(b"")
    done = run("photos", cwd=tmp_path)
    assert done.returncode == 0
    assert "the next inspection will read all files again" in done.stderr
    assert (tmp_path / "inspection.html").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("missing", "missing does not exist"),
        ("empty", "empty has no class folders"),
        ("photos --out nowhere/report.html", "there is no folder nowhere"),
        ("photos --out photos", "it is a folder"),
        ("s3://", "not a data location"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "photos", scenes({"a": 1, "b": 1}))
    done = run(*words.split(), cwd=tmp_path, AWS_DEFAULT_REGION="us-east-1")
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "inspection.html").exists()


def test_a_data_set_in_s3_is_fetched_and_inspected(aws: Aws, tmp_path: Path) -> None:
    for label in ("a", "b"):
        for index in range(4):
            aws.put(f"data/{label}/{index}.png", encoded(scene(index + 10 * (label == "b"))))
    environment = {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    done = run(f"s3://{BUCKET}/data/", "--format", "json", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["source"], document["photos"]) == (f"s3://{BUCKET}/data/", 8)
    assert "8 files downloaded, 0 already in" in done.stderr
    again = run(f"s3://{BUCKET}/data/", "--format", "json", cwd=tmp_path, **environment)
    assert json.loads(again.stdout) == document
    assert "0 files downloaded, 8 already in" in again.stderr


def test_real_photos_are_fit_to_train_on(real_data: Path, tmp_path: Path) -> None:
    clothing = str(real_data / "labelled" / "clothing")
    done = run(clothing, "--format", "json", "--cache", "kept", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["splits"] == {"train": 800, "validation": 225, "test": 245}
    assert document["unreadable"] == []
    assert document["duplicates"] == {"exact": [], "near": []}
    assert document["formats"] == {"JPEG": 1270}
    assert document["input_size"]["pixels"] == 224
    assert document["verdict"]["severity"] == "note"
    assert (tmp_path / "inspection.html").stat().st_size < 3_000_000


def test_real_broken_files_each_have_a_reason_and_a_quiet_screen(real_data: Path, tmp_path: Path) -> None:
    files = scenes({"a": 20, "b": 20})
    broken = [path for path in (real_data / "broken").rglob("*") if path.is_file()]
    for index, path in enumerate(broken):
        files[f"a/{index}-{path.name}"] = path.read_bytes()
    write(tmp_path / "photos", files)
    done = run("photos", "--format", "json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "report: inspection.html\n")
    document = json.loads(done.stdout)
    assert document["photos"] + len(document["unreadable"]) == 40 + len(broken)
    assert len(document["unreadable"]) > 50
    assert all(one["code"].startswith("image.") and one["message"] for one in document["unreadable"])
