"""Cheap bounds on what an image file asks of its decoder, found without one: counts that the format leaves open.

A file of a few kilobytes can ask for minutes of work: its size in bytes and in pixels, which are limited elsewhere, do
not tell. Each bound here is many times what real files need. What they do not foresee is stopped while it is decoded,
by the limits of the worker process; here it costs microseconds, and the message says what it was.

Damage is none of this module's business: where a file ends early or makes no sense, the decoder says so.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from itertools import islice

from classifier.errors import ImageTooCostly, TooManyPixels

# libjpeg goes over the whole picture for each scan; progressive encoders write about 10. libtiff has the same bound.
_JPEG_SCANS = 100
_JPEG_SCAN = re.compile(b"\xff\xda")
# Pillow looks at each segment and each stray byte before the first scan in Python, and joins Exif segments one by one.
_JPEG_SEGMENTS = 1024
_JPEG_EXIF_BYTES = 2**20
# Pillow goes from chunk to chunk in Python, and inflates up to a megabyte of each that is compressed text or a profile.
_PNG_CHUNKS = 65_536
_PNG_COMPRESSED_CHUNKS = 256
# Before the first frame, where reading stops: comments and application data come in blocks of up to 255 bytes.
_GIF_BLOCKS = 65_536
# Pillow expands run-length encoded bitmaps in Python.
_BMP_RUN_LENGTH_PIXELS = 16_000_000
# Lists of numbers become Python objects. 65,535 rows of four planes, a strip each, or 16 x 16 tiles of 64 megapixels.
_TIFF_NUMBERS = 262_144
_TIFF_ENTRIES = 4096
# A tile is decoded whole, however little of it the picture needs.
_TIFF_TILE_PIXELS = 2**24
# libavif looks for an item from the start of its list: 10,000, of six bytes at least, take it a second.
_AVIF_ITEM_BYTES = 65_536
_AVIF_BOXES = 1024

_TIFF_TYPE_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_TIFF_BYTE_TYPES = frozenset({1, 2, 6, 7})
_TIFF_INTEGERS = {3: "H", 4: "I", 16: "Q"}
_TIFF_SIZES = _TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 256, 257, 322, 323


def check_structure(data: bytes, format_name: str, max_pixels: int) -> int:
    """Refuse a file whose structure asks for more work or memory than a picture of its size can need.

    Args:
        data: the file.
        format_name: as :func:`classifier.imaging.sniff` names it.
        max_pixels: of one picture.

    Returns:
        Pixels that memory is allocated for while the file is opened, 0 where that comes later.

    Raises:
        ImageTooCostly, TooManyPixels
    """
    check = _CHECKS.get(format_name)
    if check is None:
        return 0
    try:
        return check(data, max_pixels) or 0
    except (IndexError, OverflowError, struct.error):  # it ends early, or points beyond its end
        return 0


def _at_most(limit: int, actual: int, what: str) -> None:
    if actual > limit:
        raise ImageTooCostly(f"it has more than {limit:,} {what}, the limit for decoding; re-save it")


def _jpeg(data: bytes, _: int) -> None:
    # Within a scan 0xff is never followed by a marker; a thumbnail in the Exif data adds its own scans.
    # An expression finds them in 0.4 of the time that bytes.count takes.
    scans = sum(1 for _ in islice(_JPEG_SCAN.finditer(data), _JPEG_SCANS + 1))
    _at_most(_JPEG_SCANS, scans, "scans")
    position, segments, exif_bytes = 2, 0, 0
    while (found := data.find(b"\xff", position)) >= 0:
        # What stands between segments is skipped byte by byte.
        segments += 1 + (found - position) // 256
        _at_most(_JPEG_SEGMENTS, segments, "segments before its picture")
        marker = data[found + 1]
        if marker == 0xDA:  # start of scan
            return
        if marker == 0xFF:  # fill
            position = found + 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # markers that have no length
            position = found + 2
        else:
            (length,) = struct.unpack_from(">H", data, found + 2)
            if marker == 0xE1 and data[found + 4 : found + 8] == b"Exif":
                exif_bytes += length
                _at_most(_JPEG_EXIF_BYTES, exif_bytes, "bytes of Exif data")
            position = found + 2 + length


def _png(data: bytes, _: int) -> None:
    position, chunks, compressed = 8, 0, 0
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        chunks += 1
        _at_most(_PNG_CHUNKS, chunks, "chunks")
        if kind in (b"iCCP", b"zTXt", b"iTXt"):
            compressed += 1
            _at_most(_PNG_COMPRESSED_CHUNKS, compressed, "compressed texts and colour profiles")


def _gif(data: bytes, _: int) -> None:
    flags = data[10]
    position = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    blocks = 0
    while data[position] not in b",;":  # the first frame, the end
        blocks += 1
        if data[position] == 0x21:  # extension: a kind, then blocks up to an empty one
            position += 2
            while length := data[position]:
                position += 1 + length
                blocks += 1
                _at_most(_GIF_BLOCKS, blocks, "blocks before its first frame")
        _at_most(_GIF_BLOCKS, blocks, "blocks before its first frame")
        position += 1


def _bmp(data: bytes, _: int) -> None:
    header_size, width, height = struct.unpack_from("<Iii", data, 14)
    if header_size < 40:
        return
    (compression,) = struct.unpack_from("<I", data, 30)
    if compression in (1, 2):
        _at_most(_BMP_RUN_LENGTH_PIXELS, abs(width * height), "run-length encoded pixels")


def _webp(data: bytes, max_pixels: int) -> int:
    # libwebp allocates the canvas as it opens the file (RFC 9649, sections 2.5 to 2.7).
    chunk = data[12:16]
    if chunk == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    check_pixels(width, height, max_pixels)
    return width * height


def _tiff(data: bytes, _: int) -> None:
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
    offset += 8 if big else 2
    _at_most(_TIFF_ENTRIES, entries, "tags")
    values: dict[int, int] = {}
    for number in range(entries):
        tag, kind, count, inline = entry.unpack_from(data, offset + number * entry.size)
        size = count * _TIFF_TYPE_SIZES.get(kind, 1)
        if kind not in _TIFF_BYTE_TYPES and size <= len(data):  # Pillow passes over what is larger than the file
            _at_most(_TIFF_NUMBERS, count, f"values in tag {tag}")
        if tag in _TIFF_SIZES and count == 1 and kind in _TIFF_INTEGERS:
            (values[tag],) = struct.unpack_from(order + _TIFF_INTEGERS[kind], inline)
    pixels = values.get(_TIFF_WIDTH, 0) * values.get(_TIFF_HEIGHT, 0)
    tile = values.get(_TIFF_TILE_WIDTH, 0) * values.get(_TIFF_TILE_HEIGHT, 0)
    _at_most(max(_TIFF_TILE_PIXELS, pixels), tile, "pixels in a tile")


def _avif(data: bytes, _: int) -> None:
    # Boxes in boxes (ISO 14496-12): only the lists of items and of what belongs to them are looked at.
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            for inner, inner_start, inner_end in _boxes(data, start + 4, end):
                properties = _boxes(data, inner_start, inner_end) if inner == b"iprp" else ()
                for part, part_start, part_end in ((inner, inner_start, inner_end), *properties):
                    if part in (b"iinf", b"iloc", b"iref", b"ipma"):
                        _at_most(_AVIF_ITEM_BYTES, part_end - part_start, f"bytes in its list {part.decode()}")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box between two positions."""
    for _ in range(_AVIF_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            header = 16
        following = start + size if size else end
        if following < start + header:
            return
        yield kind, start + header, min(following, end)
        start = following


MAX_SIDE = 65_535
"""The longest that JPEG and GIF can express; resizing a longer side takes memory that its pixels do not tell."""


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture by its size, before it is decoded.

    Raises:
        TooManyPixels
    """
    if width * height > max_pixels:
        raise TooManyPixels(f"{width} x {height} is {width * height:,} pixels, over the limit of {max_pixels:,}")
    if max(width, height) > MAX_SIDE:
        raise TooManyPixels(f"{width} x {height}: no side may be longer than {MAX_SIDE:,} pixels")


_CHECKS: dict[str, Callable[[bytes, int], int | None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WEBP": _webp,
    "TIFF": _tiff,
    "AVIF": _avif,
}
