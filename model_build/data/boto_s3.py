"""S3 through boto3 for the function's own code, whose errors are other ones than boto3's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from botocore.exceptions import BotoCoreError, ClientError

from classifier.aws_calls import AwsError, NoAnswer
from classifier.s3 import Body, GetObject, Object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def error_code(error: Exception) -> str:
    """The service's code for an error of boto3; empty when the service did not answer."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


class BotoS3:
    """Reads objects for :class:`classifier.loader.BundleLoader` and :class:`classifier.images.ImageReader`, with the
    credentials, profiles and proxies that boto3 finds.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def get_object(self, **request: Unpack[GetObject]) -> Object:
        """Raises AwsError."""
        wanted: Any = request  # boto3's stubs have a type of their own for the same keys
        try:
            response: Any = self._client.get_object(**wanted)
        except (ClientError, BotoCoreError) as error:
            raise _translated(error) from error
        response["Body"] = _Body(response["Body"])
        found: Object = response
        return found


class _Body:
    def __init__(self, stream: Body) -> None:
        self._stream = stream

    def read(self) -> bytes:
        try:
            return self._stream.read()
        except (BotoCoreError, OSError) as error:
            raise _translated(error) from error

    def close(self) -> None:
        self._stream.close()


def _translated(error: Exception) -> AwsError:
    if not isinstance(error, ClientError):
        return NoAnswer(" ".join(str(error).split()))
    code, message = error_code(error), error.response["Error"].get("Message", "")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return AwsError(f"GetObject was answered {code}: {message}", code=code, status=status)
