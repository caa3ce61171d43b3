"""Images dropped with the AWS CLI: every one ends as a result, in S3 and in DynamoDB, once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.e2e.conftest import Application, running_application
from tests.support.bundles import FIXTURES
from tests.support.images import COLOURS, encoded, picture, png

pytestmark = pytest.mark.slow

AWKWARD_NAMES = ("a b.png", "a+b.png", "50%.png", "grüße 日本.png", "q?&=#.png", "deep/er/x.png")


def broken_files() -> dict[str, tuple[bytes, str]]:
    """Twenty files that cannot be classified, each with the code it must get."""
    whole = {f: encoded(picture("red", (120, 90), seed=9), f) for f in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")}
    files = {f"cut-{name}-{part}.{name.lower()}": (data[: len(data) * part // 10], "image.corrupt")
             for name, data in whole.items() for part in (1, 6)}  # fmt: skip
    files["notes.txt"] = (b"just a note\n", "image.unsupported_format")
    files["report.pdf.jpg"] = (b"%PDF-1.7 not a picture", "image.unsupported_format")
    files["movie.png"] = (b"\0\0\0\x18ftypmp42" + b"\0" * 50, "image.unsupported_format")
    files["vector.svg"] = (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image.unsupported_format")
    files["zeros.jpg"] = (bytes(4096), "image.unsupported_format")
    files["empty.png"] = (b"", "image.empty")
    files["nothing.jpg"] = (b"", "image.empty")
    files["bomb.png"] = (encoded(Image.new("1", (9000, 9000))), "image.too_many_pixels")
    return files


def test_300_images_at_once_are_300_outcomes(application: Application, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    labels: dict[str, str] = {}
    broken = broken_files()
    assert len(broken) == 20
    colours = list(COLOURS)
    for index in range(300 - len(broken)):
        colour = colours[index % 3]
        name = AWKWARD_NAMES[index] if index < len(AWKWARD_NAMES) else f"{colour}/{index}.png"
        labels[f"incoming/{name}"] = colour
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(colour, seed=index))
    for name, (data, _) in broken.items():
        (folder / name).write_bytes(data)

    seen: dict[str, str] = {}
    stack = application.stack
    application.run("aws", "s3", "cp", folder, f"s3://{stack.bucket}/incoming/", "--recursive", "--only-show-errors")
    # The same notifications once more, as at-least-once delivery may bring them.
    for key in sorted(labels)[:10]:
        application.until(partial(application.has, key))
        seen[key] = application.items()[key]["request_id"]["S"]
        item = application.items()[key]
        body = {
            "Records": [
                {
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "bucket": {"name": stack.bucket},
                        "object": {
                            "key": key.replace("%", "%25").replace("+", "%2B"),
                            "sequencer": item["sequencer"]["S"],
                        },
                    },
                }
            ]
        }
        stack.aws.sqs.send_message(QueueUrl=stack.queue_url, MessageBody=json.dumps(body))
    application.until(lambda: len(application.items()) == 300 and application.queue_is_empty())

    items = application.items()
    for key, colour in labels.items():
        assert (items[key]["status"]["S"], items[key]["label"]["S"]) == ("classified", colour), key
    for name, (_, code) in broken.items():
        assert (items[f"incoming/{name}"]["status"]["S"], items[f"incoming/{name}"]["error_code"]["S"]) == (
            "rejected",
            code,
        ), name
    for key, request_id in seen.items():
        assert items[key]["request_id"]["S"] == request_id, f"{key} was recorded twice"
    outputs = application.keys("predictions/")
    assert outputs == {f"predictions/{key.removeprefix('incoming/')}.json" for key in items}
    for key in outputs:
        document = json.loads(stack.aws.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read())
        item = items[document["image"]["key"]]
        assert document["status"] == item["status"]["S"]
        assert document["request_id"] == item["request_id"]["S"]


@pytest.mark.parametrize("name", ["mobilenet_v2_1.0_224_quant", "mobilenet_v1_0.25_224_float"])
def test_imported_imagenet_models_answer_as_published(
    application: Application, real_data: Path, tmp_path: Path, name: str
) -> None:
    stack, models = application.stack, real_data / "models"
    application.run(
        "bucketlens", "model", "import", "--tflite", models / f"{name}.tflite", "--labels",
        models / "imagenet_labels.txt", "--golden", real_data / "photos", "--out", tmp_path / name,
    )  # fmt: skip
    # The stack is fresh: the imported model is live before the function has loaded the one it replaces.
    application.run(
        "bucketlens", "model", "publish", tmp_path / name, "--to", stack.deployment.outputs["ModelUri"],
        "--force", "other classes",
    )  # fmt: skip
    application.run("aws", "s3", "cp", real_data / "photos", stack.deployment.outputs["InputUri"], "--recursive")
    application.until(lambda: len(application.items()) == 5)
    items = application.items()
    expected = json.loads((real_data / "photos_expected_top5.json").read_text(encoding="utf-8"))
    for photo, by_model in expected.items():
        item = items[f"incoming/{Path(photo).name}"]
        _, label, confidence = by_model[f"{name}.tflite"][0]
        assert item["label"]["S"] == label
        assert float(item["confidence"]["N"]) == pytest.approx(confidence, abs=0.05)


def test_a_large_photo_goes_through_a_multipart_upload(application: Application, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), dtype=np.uint8)
    noise[..., 0] |= 0xC0
    noise[..., 1:] >>= 2
    (tmp_path / "large.png").write_bytes(encoded(Image.fromarray(noise), compress_level=0))
    assert (tmp_path / "large.png").stat().st_size > 8 * 1024 * 1024
    application.run("aws", "s3", "cp", tmp_path / "large.png", f"s3://{application.stack.bucket}/incoming/large.png")
    application.until(lambda: "incoming/large.png" in application.items())
    assert application.items()["incoming/large.png"]["label"]["S"] == "red"


def test_the_classic_interpreter_serves_as_well(tmp_path: Path) -> None:
    python = ROOT / ".venv-tflite" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"there is no {python}: `make test` makes this Python 3.11 with tflite-runtime")
    with running_application(tmp_path, python=python) as application:
        uri = application.stack.deployment.outputs["InputUri"]
        application.run("aws", "s3", "cp", FIXTURES / "images", uri, "--recursive")
        application.until(lambda: len(application.items()) == len(list((FIXTURES / "images").iterdir())))
        assert application.items()["incoming/blue.webp"]["label"]["S"] == "blue"
