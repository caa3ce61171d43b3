"""schemathesis: requests made from the API's own description, and made to break it, over HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classifier.api import Api
from classifier.http_server import Server
from classifier.images import ImageReader
from classifier.settings import ApiSettings
from tests.support.http_api import in_process

pytestmark = pytest.mark.slow
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.fixture
def address() -> Iterator[str]:
    nowhere: Any = None
    api = Api(ApiSettings.from_environment({"MODEL_URI": "s3://photos/models/"}), in_process, ImageReader(nowhere))
    with Server(("127.0.0.1", 0), api.handle, max_body=1_000_000) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_every_answer_is_as_described(address: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(SCHEMATHESIS, "run", f"{address}/openapi.json", "--no-color", "--generation-deterministic"),
            # A schema cannot say which bytes are an image, so what it allows may be refused.
            *("--max-examples", "50", "--exclude-checks", "positive_data_acceptance"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # All but the description, which has been read by then.
    assert "6 selected / 6 total" in done.stdout
