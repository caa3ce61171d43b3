"""Files that cost far more than their size or their pixels tell; each is made here and small on disk."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.support.images import encoded, picture


def gif_with_a_huge_frame() -> bytes:
    """43 bytes: a 1 x 1 screen and a frame of 65,535 x 65,535."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\x02\x4c\x01\x00;" + bytes(8)


def gif_with_endless_comments(blocks: int = 2_000_000) -> bytes:
    data = encoded(picture(size=(8, 8)).quantize(16), "GIF")
    start = 13 + 3 * (2 << (data[10] & 7))
    return data[:start] + b"!\xfe" + b"\x01x" * blocks + b"\x00" + data[start:]


def jpeg_with_scans(count: int = 1000, size: tuple[int, int] = (400, 300)) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encoded(picture(size=size), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def jpeg_with_segments(count: int = 500_000, payload: bytes = b"Exif\0\0xx") -> bytes:
    data = encoded(picture(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    return data[:2] + segment * count + data[2:]


def jpeg_with_padding(count: int = 20_000_000, byte: bytes = b"\xff") -> bytes:
    data = encoded(picture(), "JPEG")
    (length,) = struct.unpack_from(">H", data, 4)
    return data[: 4 + length] + byte * count + data[4 + length :]


def jpeg_with_exif_of_rationals(count: int = 1_000_000) -> bytes:
    """One Exif tag, a resolution, of so many fractions, over as many segments as it takes."""
    tags = struct.pack("<HHLLHHLL", 0x011A, 5, count, 38, 0x0128, 3, 1, 2)
    exif = b"II*\0\x08\0\0\0\x02\0" + tags + bytes(4) + b"\1\0\0\0" * 2 * count
    parts = [exif[i : i + 65_000] for i in range(0, len(exif), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 8) + b"Exif\0\0" + p for p in parts)
    data = encoded(picture(), "JPEG")
    return data[:2] + segments + data[2:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, colour_type: int = 0, bits: int = 8, *, before: bytes = b"") -> bytes:
    """A black PNG of any size, without its pixels ever being in memory."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    row = bytes(1 + (width * samples * bits + 7) // 8)
    compressor = zlib.compressobj(9)
    content = b"".join([*(compressor.compress(row) for _ in range(height)), compressor.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def png_with_profiles(count: int = 20_000) -> bytes:
    """Colour profiles that inflate to a megabyte each."""
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**20 - 1), 9))
    return png(8, 8, before=profile * count)


def png_with_empty_chunks(count: int = 1_000_000) -> bytes:
    return png(8, 8, before=chunk(b"prVt", b"") * count)


def png_in_single_bytes(side: int = 1000) -> bytes:
    """Each byte of its compressed pixels in a chunk of its own."""
    whole = encoded(Image.effect_noise((side, side), 50), "PNG")
    start = whole.index(b"IDAT") - 4
    content = b""
    while whole[start + 4 : start + 8] == b"IDAT":
        (length,) = struct.unpack_from(">I", whole, start)
        content += whole[start + 8 : start + 8 + length]
        start += 12 + length
    head = whole[: whole.index(b"IDAT") - 4]
    return head + b"".join(chunk(b"IDAT", content[i : i + 1]) for i in range(len(content))) + chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[int, int, bytes]], content: bytes = b"") -> bytes:
    """A TIFF of one directory; values over four bytes, then ``content``, come after it."""
    start = 8 + 2 + 12 * len(tags) + 4
    entries, after = b"", b""
    for tag, (kind, count, value) in sorted(tags.items()):
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<L", start + len(after))
        after += value if len(value) > 4 else b""
        entries += struct.pack("<HHL", tag, kind, count) + inline
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + after + content


def _long(value: int) -> tuple[int, int, bytes]:
    return 4, 1, struct.pack("<L", value)


def _grey(width: int, height: int, compression: int) -> dict[int, tuple[int, int, bytes]]:
    return {256: _long(width), 257: _long(height), 258: _long(8), 259: _long(compression), 262: _long(1), 277: _long(1)}


def tiff_with_a_huge_tile(side: int = 16_384) -> bytes:
    """A picture of 64 x 64 in a tile of a quarter of a gigabyte, compressed to a thousandth."""
    compressor = zlib.compressobj(1)
    blank = bytes(side * 64)
    content = b"".join([*(compressor.compress(blank) for _ in range(side // 64)), compressor.flush()])
    tags = _grey(64, 64, 8) | {322: _long(side), 323: _long(side), 324: _long(0), 325: _long(len(content))}
    tags[324] = _long(len(tiff(tags)))
    return tiff(tags, content)


def tiff_with_strips(count: int = 2_000_000) -> bytes:
    tags = _grey(1000, 1000, 1) | {273: (4, count, bytes(4 * count)), 278: _long(1), 279: (4, count, bytes(4 * count))}
    return tiff(tags)


def tiff_with_a_resolution_of_fractions(count: int = 1_000_000) -> bytes:
    tags = _grey(8, 8, 1) | {273: _long(8), 279: _long(64), 282: (5, count, b"\1\0\0\0" * 2 * count)}
    return tiff(tags)


def webp_with_a_huge_canvas() -> bytes:
    side = (16_383).to_bytes(3, "little")
    frame = encoded(picture(size=(16, 16)), "WEBP")[12:]
    chunks = b"VP8X" + struct.pack("<LL", 10, 0) + side + side + frame
    return b"RIFF" + struct.pack("<L", len(chunks) + 4) + b"WEBP" + chunks


def bmp_of_ends_of_line(width: int = 60_000, height: int = 1000) -> bytes:
    """Run-length encoded, each row nothing but its end."""
    content = b"\1\0\0\0" * height
    header = struct.pack("<LiiHHLLiiLL", 40, width, height, 1, 8, 1, len(content), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    return b"BM" + struct.pack("<LHHL", start + len(content), 0, 0, start) + header + bytes(1024) + content


def avif_with_items(count: int = 60_000) -> bytes:
    """A list of items that its decoder searches from the start for each."""
    data = encoded(picture(), "AVIF")
    start = data.index(b"iinf") - 4
    (size,) = struct.unpack_from(">L", data, start)
    entries = data[start + 14 : start + size]
    extra = b"".join(struct.pack(">L4sB3xHH4sx", 21, b"infe", 2, 1000 + i % 60_000, 0, b"Exif") for i in range(count))
    box = struct.pack(">L4sB3xL", 16 + len(entries) + len(extra), b"iinf", 1, count + 1) + entries + extra
    grown = len(box) - size
    meta = data.index(b"meta") - 4
    (meta_size,) = struct.unpack_from(">L", data, meta)
    head = bytearray(data[:start])
    head[meta : meta + 4] = struct.pack(">L", meta_size + grown)
    return bytes(head) + box + data[start + size :]


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a GIF with a huge frame": (gif_with_a_huge_frame, "image.too_many_pixels"),
    "a GIF with endless comments": (gif_with_endless_comments, "image.too_costly"),
    "a JPEG of 1,000 scans": (jpeg_with_scans, "image.too_costly"),
    "a JPEG of tiny Exif segments": (jpeg_with_segments, "image.too_costly"),
    "a JPEG of empty segments": (lambda: jpeg_with_segments(payload=b""), "image.too_costly"),
    "a JPEG full of fill bytes": (jpeg_with_padding, "image.too_costly"),
    "a JPEG full of stray bytes": (lambda: jpeg_with_padding(byte=b"x"), "image.too_costly"),
    "a JPEG with a list of fractions": (jpeg_with_exif_of_rationals, "image.too_costly"),
    "a PNG of 64,000,000 x 1": (lambda: png(64_000_000, 1), "image.too_many_pixels"),
    "a PNG with 20,000 profiles": (png_with_profiles, "image.too_costly"),
    "a PNG with a million chunks": (png_with_empty_chunks, "image.too_costly"),
    "a PNG in single bytes": (png_in_single_bytes, "image.too_costly"),
    "a TIFF with a huge tile": (tiff_with_a_huge_tile, "image.too_costly"),
    "a TIFF with two million strips": (tiff_with_strips, "image.too_costly"),
    "a TIFF with a list of fractions": (tiff_with_a_resolution_of_fractions, "image.too_costly"),
    "a WebP with a huge canvas": (webp_with_a_huge_canvas, "image.too_many_pixels"),
    "a BMP of ends of line": (bmp_of_ends_of_line, "image.too_costly"),
    "an AVIF of 60,000 items": (avif_with_items, "image.too_costly"),
}
"""Name -> how it is made, and the code of its rejection."""
