"""What is fixed about the application on one machine, so that every part and every shell agrees on it."""

from __future__ import annotations

from typing import Final

STACK_NAME: Final = "bucketlens"
ACCOUNT_ID: Final = "123456789012"
REGION: Final = "us-east-1"
# Nothing checks them; SDKs refuse to sign a request without.
ACCESS_KEY_ID: Final = "local"
SECRET_ACCESS_KEY: Final = "local"  # noqa: S105
DEFAULT_PORT: Final = 5555
DEFAULT_HTTP_PORT: Final = 5557
