"""Bytes of an image file -> the model's input tensor. The only code in the project that does so.

The function, the evaluation, the int8 calibration and the golden test call :func:`decode`, so a model never meets
pixels in production that differ from those it was trained and proven on.

What it does, in order: refuse by size, signature and pixel count before any full decode; decode (JPEG at 1/2, 1/4 or
1/8 of its size when that still leaves the model's input times the bundle's draft margin); apply the EXIF orientation;
bring every Pillow mode to RGB, transparency over white; resize with Pillow's antialiased bilinear filter by the
bundle's policy.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

# Naming the plug-ins registers exactly these; Image.open would otherwise import all of Pillow's some forty decoders.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from classifier.bounds import check_pixels, check_structure
from classifier.errors import (
    CorruptImage,
    EmptyImage,
    ImageRejected,
    ImageTooCostly,
    ImageTooLarge,
    TooManyPixels,
    UnsupportedFormat,
)

# One image is one thread's work; each of dav1d's own would keep frames of its own.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

SUPPORTED_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")

_ORIENTATION_TAG = 0x0112  # EXIF 2.32, section 4.6.4
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})
_WHITE = (255, 255, 255)
# What a decode takes at most, in bytes a pixel, measured: coefficients of a progressive JPEG; the canvases of WebP's
# decoder, its output and ours; a float TIFF, its array and what is computed from it.
_DECODING_BYTES = {"JPEG": 8}
_MOST_DECODING_BYTES = 16

DRAFT_MARGIN = 1
"""Of new bundles: cheaper than 2, and as accurate (docs/experiments.md)."""
EARLIER_DRAFT_MARGIN = 2
"""Of bundles whose manifest states none."""
DRAFT_MARGINS = (DRAFT_MARGIN, EARLIER_DRAFT_MARGIN)


class ResizePolicy(StrEnum):
    """How a picture of any shape becomes the model's rectangle."""

    STRETCH = "stretch"
    """The whole picture, its aspect ratio given up."""
    CROP = "crop"
    """The largest centred part with the model's aspect ratio."""
    PAD = "pad"
    """The whole picture, its aspect ratio kept, centred on black."""


@dataclass(frozen=True)
class Limits:
    """What one image may cost.

    A decode needs up to 16 bytes a pixel (WebP: the canvases of its decoder, its output and ours), most formats 8 at
    most: measured at 64 million pixels, 980 MB for WebP, 710 MB for AVIF, 500 MB for an RGBA PNG, 10 MB for a JPEG.

    Attributes:
        memory: bytes that this process lets a decode take; None where it is not limited. Decoders written in C say of
            an allocation that failed what they say of damage; this tells the two apart.
    """

    max_bytes: int = 26_214_400
    max_pixels: int = 64_000_000
    memory: int | None = None


@dataclass(frozen=True)
class DecodedImage:
    """An image ready for the model, with what its file was.

    Attributes:
        tensor: uint8, (height, width, 3), RGB, the model's input size.
        format: the file's format by Pillow's name, such as ``JPEG``.
        width, height: pixels of the original as a viewer shows it, after EXIF orientation.
    """

    tensor: NDArray[np.uint8]
    format: str
    width: int
    height: int


def decode(
    data: bytes,
    *,
    height: int,
    width: int,
    policy: ResizePolicy = ResizePolicy.STRETCH,
    draft_margin: int = EARLIER_DRAFT_MARGIN,
    limits: Limits = Limits(),
) -> DecodedImage:
    """Decode an image file into a uint8 (``height``, ``width``, 3) RGB tensor.

    For a model, call :meth:`classifier.bundle.Manifest.decode`, which decodes as that model was trained.

    An animation gives its first frame. 16-bit greys keep their high byte; 32-bit integer and float pictures, which
    have no agreed white, are stretched over their own range.

    Args:
        draft_margin: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least this many times the
            size it is then resized to.

    Raises:
        ImageRejected: one of its leaves, with the contract's code, for anything that cannot be decoded.
    """
    check_size(len(data), limits)
    format_name = sniff(data)
    if format_name is None:
        raise UnsupportedFormat(
            f"the content is not one of {', '.join(SUPPORTED_FORMATS)} (it begins with {data[:8].hex(' ')})"
        )
    pixels = check_structure(data, format_name, limits.max_pixels)
    # Pillow refuses at twice this value, before it allocates, and up to that warns; exactly it is checked below.
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    try:
        with Image.open(io.BytesIO(data), formats=(format_name,)) as image:
            check_pixels(image.width, image.height, limits.max_pixels)
            pixels = image.width * image.height
            return _decode_opened(image, format_name, height, width, policy, draft_margin)
    except ImageRejected:
        raise
    except Image.DecompressionBombError as error:
        stated = int(re.findall(r"\d+", str(error))[0])
        raise TooManyPixels(f"{stated:,} pixels, over the limit of {limits.max_pixels:,}") from error
    except MemoryError:
        raise _out_of_memory(format_name, pixels, limits) from None
    # Pillow's decoders raise most of the built-in exceptions on malformed data; each of them means the same here.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "cannot identify image file" in reason:  # the text goes on with a memory address
            reason = "its header is damaged"
        if (
            limits.memory is not None
            and pixels * _DECODING_BYTES.get(format_name, _MOST_DECODING_BYTES) > limits.memory
        ):
            raise _out_of_memory(format_name, pixels, limits) from error
        raise CorruptImage(f"{format_name} cannot be decoded: {reason}") from error


def _out_of_memory(format_name: str, pixels: int, limits: Limits) -> ImageTooCostly:
    megapixels = f" of {pixels / 1e6:.0f} megapixels" if pixels else ""
    available = "" if limits.memory is None else f" the {limits.memory // 2**20} MB that one image may take:"
    return ImageTooCostly(
        f"{format_name}{megapixels} cannot be decoded within{available or ' the memory there is:'}"
        " save it with fewer pixels, or raise the function's MemorySize"
    )


def check_size(size_bytes: int, limits: Limits) -> None:
    """Refuse a file by its size alone, before it is fetched or opened.

    Raises:
        EmptyImage, ImageTooLarge
    """
    if size_bytes == 0:
        raise EmptyImage("the file has 0 bytes")
    if size_bytes > limits.max_bytes:
        raise ImageTooLarge(f"{size_bytes:,} bytes, over the limit of {limits.max_bytes:,}")


def sniff(data: bytes) -> str | None:
    """The supported format that the file's signature names, whatever the rest is worth; None for any other."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return None


def _decode_opened(
    image: Image.Image, format_name: str, height: int, width: int, policy: ResizePolicy, draft_margin: int
) -> DecodedImage:
    # Pillow turns a TIFF itself while it loads, and gives its turned size from the start.
    orientation = 1 if format_name == "TIFF" else _orientation(image)
    sideways = orientation in _SIDEWAYS
    shown_width, shown_height = (image.height, image.width) if sideways else image.size
    # All geometry happens in the stored orientation, on the model's rectangle turned with it: turning 224 x 224
    # pixels after the resize is free, turning the original is not.
    target = (height, width) if sideways else (width, height)
    whole = _scaled_size(image.size, target, policy)
    image.draft(None, (draft_margin * whole[0], draft_margin * whole[1]))
    image.load()
    resized = _resize(_resizable(image), target, policy)
    rgb = _over_white(resized)
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    if policy is ResizePolicy.PAD:
        rgb = _centred(rgb, (width, height))
    tensor = np.asarray(rgb, dtype=np.uint8)
    return DecodedImage(tensor, format_name, shown_width, shown_height)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except MemoryError:
        raise
    # Damaged metadata around a sound picture: the picture counts. Pillow raises anything here.
    except Exception:  # noqa: BLE001
        return 1
    return value if isinstance(value, int) and value in _TRANSPOSE else 1


def _scaled_size(size: tuple[int, int], target: tuple[int, int], policy: ResizePolicy) -> tuple[int, int]:
    """The size (width, height) the whole picture gets when it is resized under ``policy``."""
    if policy is ResizePolicy.STRETCH:
        return target
    ratios = (target[0] / size[0], target[1] / size[1])
    scale = max(ratios) if policy is ResizePolicy.CROP else min(ratios)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resize(image: Image.Image, target: tuple[int, int], policy: ResizePolicy) -> Image.Image:
    bilinear = Image.Resampling.BILINEAR
    if policy is ResizePolicy.STRETCH:
        return image.resize(target, bilinear)
    if policy is ResizePolicy.CROP:
        # A source box instead of a resize and a crop: a panorama would be enlarged without bound before the crop.
        scale = min(image.width / target[0], image.height / target[1])
        box_width, box_height = target[0] * scale, target[1] * scale
        left, top = (image.width - box_width) / 2, (image.height - box_height) / 2
        box = (max(0.0, left), max(0.0, top), min(image.width, left + box_width), min(image.height, top + box_height))
        return image.resize(target, bilinear, box=box)
    return image.resize(_scaled_size(image.size, target, policy), bilinear)


def _centred(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    canvas = Image.new("RGB", size)
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return canvas


def _resizable(image: Image.Image) -> Image.Image:
    """The picture in a mode whose resize is linear in light: L, RGB, or RGBA (which Pillow premultiplies)."""
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in ("RGB", "L"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return _stretch_range(image)
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode != "RGBA":
        return image.convert("RGB")
    canvas = Image.new("RGB", image.size, _WHITE)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _stretch_range(image: Image.Image) -> Image.Image:
    values = np.array(image, dtype=np.float32)
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CorruptImage("its pixels hold NaN or infinite values")
    scale = 255.0 / (high - low) if high > low else 0.0
    values -= low
    values *= scale
    values += 0.5
    return Image.fromarray(values.astype(np.uint8))


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # little CMS is loaded for the rare picture that needs it

    lab_to_srgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, lab_to_srgb)
    if converted is None:
        raise CorruptImage("its LAB colours cannot be converted")
    return converted
