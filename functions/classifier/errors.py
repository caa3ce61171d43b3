"""The error tree, one place. Each leaf has a stable ``code``, part of the result and table contract.

::

    BucketlensError
    ├── ImageRejected                permanent: recorded as the image's result, never retried
    │   ├── EmptyImage                   image.empty
    │   ├── ImageTooLarge                image.too_large          (bytes)
    │   ├── TooManyPixels                image.too_many_pixels
    │   ├── ImageTooCostly               image.too_costly         (beyond the time or memory of one image)
    │   ├── UnsupportedFormat            image.unsupported_format
    │   ├── CorruptImage                 image.corrupt
    │   └── ImageNotFound                image.not_found          (deleted before we came)
    ├── TransientError               retried through the queue, never recorded
    │   ├── StorageThrottled             storage.throttled
    │   ├── StorageUnavailable           storage.unavailable
    │   ├── ModelUnavailable             model.unavailable
    │   ├── UrlUnavailable               url.unavailable          (another server does not give the image)
    │   └── OutOfTime                    deadline                 (put off to a later invocation)
    ├── FatalError                   fails the batch and is alarmed
    │   ├── ModelIntegrityError          model.integrity          (size or sha256 mismatch)
    │   ├── ModelIncompatibleError       model.incompatible       (the interpreter refuses it)
    │   └── ConfigError                  config.invalid
    └── UserError                    what a person asked for, by command or request, cannot be done (input.invalid)
        └── InputForbidden               input.forbidden          (a request for an image that the API may not read)

``str(error)`` is one line that says what was wrong, with which file, and what to do.
"""

from __future__ import annotations


class BucketlensError(Exception):
    """Base of every error this project raises on purpose."""

    code = "internal"

    @property
    def message(self) -> str:
        return str(self)


class ImageRejected(BucketlensError):
    """The image cannot be classified, now or ever: its result is the rejection."""

    code = "image.rejected"


class EmptyImage(ImageRejected):
    code = "image.empty"


class ImageTooLarge(ImageRejected):
    code = "image.too_large"


class TooManyPixels(ImageRejected):
    code = "image.too_many_pixels"


class ImageTooCostly(ImageRejected):
    code = "image.too_costly"


class UnsupportedFormat(ImageRejected):
    code = "image.unsupported_format"


class CorruptImage(ImageRejected):
    code = "image.corrupt"


class ImageNotFound(ImageRejected):
    code = "image.not_found"


class TransientError(BucketlensError):
    """May succeed when tried again; the queue does the trying."""

    code = "transient"


class StorageThrottled(TransientError):
    code = "storage.throttled"


class StorageUnavailable(TransientError):
    code = "storage.unavailable"


class ModelUnavailable(TransientError):
    code = "model.unavailable"


class UrlUnavailable(TransientError):
    code = "url.unavailable"


class OutOfTime(TransientError):
    """The invocation ends before the image could be finished; nothing speaks against the image itself."""

    code = "deadline"


class FatalError(BucketlensError):
    """Nothing in this batch can be right: fail it whole, loudly."""

    code = "fatal"


class ModelIntegrityError(FatalError):
    code = "model.integrity"


class ModelIncompatibleError(FatalError):
    code = "model.incompatible"


class ConfigError(FatalError):
    code = "config.invalid"


class UserError(BucketlensError):
    """A person's request that cannot be carried out; the message tells them what to do."""

    code = "input.invalid"


class InputForbidden(UserError):
    code = "input.forbidden"
