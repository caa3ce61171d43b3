"""Bytes to tensor: geometry, modes, orientation, limits, and refusal of everything else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from classifier.errors import CorruptImage, EmptyImage, ImageRejected, ImageTooLarge, TooManyPixels, UnsupportedFormat
from classifier.imaging import DRAFT_MARGINS, SUPPORTED_FORMATS, Limits, ResizePolicy, decode, sniff
from tests.support.images import encoded, picture

ORIENTATION = 0x0112


def with_orientation(image: Image.Image, orientation: int, image_format: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, image_format, exif=exif)


def quadrants(size: tuple[int, int] = (80, 60)) -> Image.Image:
    """Red, green / blue, white: no two orientations look alike."""
    image = Image.new("RGB", size)
    half = (size[0] // 2, size[1] // 2)
    for colour, corner in {"red": (0, 0), "lime": (half[0], 0), "blue": (0, half[1]), "white": half}.items():
        image.paste(colour, (*corner, corner[0] + half[0], corner[1] + half[1]))
    return image


@pytest.mark.parametrize("image_format", SUPPORTED_FORMATS)
def test_every_supported_format_decodes_to_its_colour(image_format: str) -> None:
    decoded = decode(encoded(picture("green", (90, 70)), image_format), height=32, width=48)
    assert decoded.tensor.shape == (32, 48, 3)
    assert decoded.tensor.dtype == np.uint8
    assert (decoded.format, decoded.width, decoded.height) == (image_format, 90, 70)
    red, green, blue = decoded.tensor.reshape(-1, 3).mean(axis=0)
    assert green > 2 * red
    assert green > 2 * blue


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("policy", list(ResizePolicy))
def test_exif_orientation_is_applied(image_format: str, orientation: int, policy: ResizePolicy) -> None:
    upright = quadrants()
    stored = upright.transpose(
        {
            1: Image.Transpose.ROTATE_180,
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }[orientation]
    )
    if orientation == 1:
        stored = upright
    expected = decode(encoded(upright, "PNG"), height=40, width=52, policy=policy)
    actual = decode(with_orientation(stored, orientation, image_format), height=40, width=52, policy=policy)
    assert (actual.width, actual.height) == (80, 60)
    difference = np.abs(actual.tensor.astype(int) - expected.tensor.astype(int))
    assert difference.mean() < 6, f"orientation {orientation} of {image_format} looks different"


def test_a_large_jpeg_decodes_within_3_of_255_of_its_full_decode() -> None:
    data = encoded(Image.effect_mandelbrot((1600, 1200), (-2, -1.5, 1, 1.5), 60).convert("RGB"), "JPEG", quality=92)
    with Image.open(io.BytesIO(data)) as image:
        full = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR)).astype(int)
    difference = np.abs(decode(data, height=224, width=224).tensor.astype(int) - full)
    assert difference.mean() < 0.5
    assert difference.max() <= 6


@given(
    width=st.integers(16, 700),
    height=st.integers(16, 700),
    side=st.sampled_from([32, 80, 112]),
    draft_margin=st.sampled_from(DRAFT_MARGINS),
)
@example(width=640, height=480, side=224, draft_margin=1)
@example(width=640, height=480, side=224, draft_margin=2)
@example(width=448, height=448, side=224, draft_margin=1)
@settings(max_examples=30)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_leaves_the_margin(
    width: int, height: int, side: int, draft_margin: int
) -> None:
    data = encoded(Image.effect_noise((width, height), 60).convert("RGB"), "JPEG")
    scale = max(s for s in (1, 2, 4, 8) if s == 1 or min(width, height) >= s * draft_margin * side)
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, (width // scale, height // scale))
        assert image.width == -(-width // scale)
        expected = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
    tensor = decode(data, height=side, width=side, draft_margin=draft_margin).tensor
    assert np.array_equal(tensor, expected)


def test_small_images_are_resized_exactly_as_pillow_does() -> None:
    image = picture("blue", (64, 48))
    expected = np.asarray(image.resize((32, 24), Image.Resampling.BILINEAR))
    assert np.array_equal(decode(encoded(image), height=24, width=32).tensor, expected)


def test_crop_keeps_the_centre_and_pad_keeps_everything() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("lime", (100, 0, 200, 100))
    cropped = decode(encoded(wide), height=50, width=50, policy=ResizePolicy.CROP).tensor
    assert np.array_equal(cropped[:, 1:-1], np.full((50, 48, 3), (0, 255, 0), np.uint8))
    padded = decode(encoded(wide), height=30, width=30, policy=ResizePolicy.PAD).tensor
    assert not padded[:10].any()
    assert not padded[20:].any()
    assert tuple(padded[15, 2]) == (255, 0, 0)
    assert tuple(padded[15, 15]) == (0, 255, 0)


@pytest.mark.parametrize("policy", list(ResizePolicy))
@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (1, 1)])
def test_extreme_shapes_stay_bounded(policy: ResizePolicy, size: tuple[int, int]) -> None:
    tensor = decode(encoded(Image.new("RGB", size, "red")), height=32, width=32, policy=policy).tensor
    assert tensor.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 128, (128, 128, 128)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (10, 255), (10, 10, 10)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("I;16", 0x8000, (128, 128, 128)),
    ],
)
def test_png_modes_end_as_rgb_with_transparency_over_white(
    mode: str, colour: object, expected: tuple[int, int, int]
) -> None:
    tensor = decode(encoded(Image.new(mode, (40, 40), colour)), height=16, width=16).tensor  # type: ignore[arg-type]
    assert np.abs(tensor.astype(int) - expected).max() <= 1


def test_palette_transparency_is_over_white() -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0] + [0, 0, 255] * 255)
    data = encoded(image, "PNG", transparency=0)
    assert np.array_equal(decode(data, height=8, width=8).tensor, np.full((8, 8, 3), 255, np.uint8))


def test_cmyk_and_float_pictures_end_as_rgb() -> None:
    cmyk = decode(encoded(picture("red").convert("CMYK"), "JPEG", quality=95), height=16, width=16).tensor
    assert cmyk[..., 0].mean() > 150 > 80 > cmyk[..., 1].mean()
    ramp = Image.fromarray(np.linspace(-3, 7, 64 * 64, dtype=np.float32).reshape(64, 64))
    tensor = decode(encoded(ramp, "TIFF"), height=64, width=64).tensor
    assert (tensor[0, 0] == 0).all()
    assert (tensor[-1, -1] == 255).all()


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(decode(data, height=8, width=8).tensor[4, 4]) == (255, 0, 0)


def test_limits_are_checked_before_a_full_decode() -> None:
    data = encoded(picture(size=(100, 100)))
    with pytest.raises(EmptyImage, match="0 bytes"):
        decode(b"", height=8, width=8)
    with pytest.raises(ImageTooLarge, match=f"{len(data):,} bytes, over the limit of 10"):
        decode(data, height=8, width=8, limits=Limits(max_bytes=10))
    with pytest.raises(TooManyPixels, match=r"100 x 100 is 10,000 pixels, over the limit of 9,999"):
        decode(data, height=8, width=8, limits=Limits(max_pixels=9_999))
    assert decode(data, height=8, width=8, limits=Limits(len(data), 10_000)).width == 100


@pytest.mark.parametrize("data", [b"hello, world", b"%PDF-1.7", b"\0" * 100, b"RIFF....WAVE", b"P6 1 1 255 ...", b"x"])
def test_other_content_is_unsupported(data: bytes) -> None:
    assert sniff(data) is None
    with pytest.raises(UnsupportedFormat, match="the content is not one of JPEG"):
        decode(data, height=8, width=8)


@pytest.mark.parametrize("image_format", SUPPORTED_FORMATS)
def test_a_truncated_file_is_corrupt(image_format: str) -> None:
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)), image_format)
    for keep in (16, len(data) // 2):
        with pytest.raises(CorruptImage, match=f"{image_format} cannot be decoded"):
            decode(data[:keep], height=8, width=8)


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = encoded(picture("red"), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 20)
    assert decode(data, height=8, width=8).format == "JPEG"


@settings(max_examples=300)
@given(
    image_format=st.sampled_from(SUPPORTED_FORMATS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_bytes_are_decoded_or_rejected_and_never_anything_else(
    image_format: str, edits: list[tuple[float, int]]
) -> None:
    data = bytearray(encoded(picture("red", (40, 30)), image_format))
    for where, value in edits:
        data[int(where * len(data))] = value
    try:
        decoded = decode(bytes(data), height=16, width=16, limits=Limits(max_pixels=1_000_000))
    except ImageRejected as error:
        assert error.code.startswith("image.")
        assert "\n" not in str(error)
    else:
        assert decoded.tensor.shape == (16, 16, 3)


def test_real_broken_files_never_escape(real_data: Path) -> None:
    codes: dict[str, int] = {}
    for path in sorted((real_data / "broken").rglob("*")):
        if path.is_file():
            try:
                decode(path.read_bytes(), height=224, width=224)
                code = "decoded"
            except ImageRejected as error:
                code = error.code
            codes[code] = codes.get(code, 0) + 1
    assert set(codes) <= {
        "decoded",
        "image.corrupt",
        "image.unsupported_format",
        "image.too_many_pixels",
        "image.empty",
    }
    assert codes["image.corrupt"] >= 20


def test_real_awkward_files_of_supported_formats_decode(real_data: Path) -> None:
    refused = []
    for path in sorted((real_data / "awkward").rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if sniff(data):
            try:
                decode(data, height=224, width=224)
            except ImageRejected as error:
                refused.append(f"{path.name}: {error}")
    assert refused == []


def test_real_photos_of_every_orientation_look_alike(real_data: Path) -> None:
    tensors = [
        decode(path.read_bytes(), height=224, width=224).tensor.astype(int)
        for path in sorted((real_data / "awkward" / "exif").glob("*.jpg"))
    ]
    assert len(tensors) == 8
    assert max(np.abs(tensor - tensors[0]).mean() for tensor in tensors) < 6
