"""Labels inside a ``.tflite``, as TFLite metadata: what other tools (and ``zipfile``) find in the file itself.

Two attachments that no interpreter reads: an entry ``TFLITE_METADATA`` of the model's own flatbuffer, which describes
input and output and names ``labels.txt``, and a zip with that file appended to the end.
Source: metadata_schema.fbs of tensorflow/tflite-support and schema.fbs of TensorFlow Lite; field numbers are their
order.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from typing import Any

LABELS_NAME = "labels.txt"
METADATA_NAME = "TFLITE_METADATA"
_MODEL_IDENTIFIER, _METADATA_IDENTIFIER = b"TFL3", b"M001"
_VERSION, _BUFFERS, _METADATA = 0, 4, 6  # fields of Model
_KNOWN_FIELDS = 10
_ALIGNMENT = 64  # buffers ask for 16; what follows must keep the alignment it had
_IMAGE_PROPERTIES, _FEATURE_PROPERTIES = 2, 1  # ContentProperties union
_RGB, _TENSOR_AXIS_LABELS, _NORMALIZATION_OPTIONS = 1, 2, 1
_OLDEST = (1980, 1, 1, 0, 0, 0)  # of a zip entry: the same labels give the same bytes


def with_labels(content: bytes, labels: Sequence[str], *, name: str) -> bytes:
    """``content`` with the metadata of an image classifier that takes RGB 0..255, and ``labels.txt`` in a zip.

    The old file follows the new head unchanged, so that no weight moves against its alignment.

    Args:
        content: a ``.tflite`` file without metadata.
        labels: in output order.
        name: of the model.
    """
    described = _prepend(content, _classifier_metadata(name))
    stream = io.BytesIO(described)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_NAME, _OLDEST), "".join(f"{label}\n" for label in labels))
    return stream.getvalue()


def read_labels(content: bytes) -> list[str]:
    """The labels that :func:`with_labels` put into ``content``; raises zipfile.BadZipFile, KeyError without them."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(LABELS_NAME).decode().splitlines()


class _Root:
    """The root table of a model's flatbuffer, by field numbers."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = self._u32(0)
        vtable = self._place - struct.unpack_from("<i", content, self._place)[0]
        count = (struct.unpack_from("<H", content, vtable)[0] - 4) // 2
        if count > _KNOWN_FIELDS:
            raise ValueError(f"the model's root has {count} fields; {_KNOWN_FIELDS} are known")
        offsets = struct.unpack_from(f"<{count}H", content, vtable + 4)
        self._offsets = {number: offset for number, offset in enumerate(offsets) if offset}

    @property
    def fields(self) -> set[int]:
        return set(self._offsets)

    def scalar(self, number: int) -> int:
        return self._u32(self._place + self._offsets[number])

    def target(self, number: int) -> int:
        """Where what the field points to begins."""
        return self._follow(self._place + self._offsets[number])

    def elements(self, number: int) -> list[int]:
        """Where the tables of a vector begin."""
        if number not in self._offsets:
            return []
        vector = self.target(number)
        return [self._follow(vector + 4 + 4 * index) for index in range(self._u32(vector))]

    def _follow(self, place: int) -> int:
        return place + self._u32(place)

    def _u32(self, place: int) -> int:
        return int(struct.unpack_from("<I", self._content, place)[0])


class _Head:
    """Bytes that are laid out first and pointed into afterwards. Offsets of a flatbuffer point forward only."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, data: bytes, *, align: int = 4, before: int = 0) -> int:
        """Append ``data`` so that what lies ``before`` bytes into it is aligned; returns where it begins."""
        self.data.extend(b"\0" * (-(len(self.data) + before) % align))
        self.data.extend(data)
        return len(self.data) - len(data)

    def set(self, place: int, value: int) -> None:
        struct.pack_into("<I", self.data, place, value)

    def point(self, place: int, to: int) -> None:
        self.set(place, to - place)

    def fill(self, vector: int, targets: Sequence[int]) -> None:
        self.set(vector, len(targets))
        for index, target in enumerate(targets):
            self.point(vector + 4 + 4 * index, target)


def _prepend(content: bytes, metadata: bytes) -> bytes:
    """``content`` behind a new root table that has one more buffer and one more metadata entry."""
    old, head = _Root(content), _Head()
    used = sorted(old.fields | {_BUFFERS, _METADATA})
    buffers, entries = old.elements(_BUFFERS), old.elements(_METADATA)
    head.add(b"\0\0\0\0" + _MODEL_IDENTIFIER)
    offsets = (4 + 4 * used.index(number) if number in used else 0 for number in range(_KNOWN_FIELDS))
    vtable = head.add(struct.pack(f"<{_KNOWN_FIELDS + 2}H", 4 + 2 * _KNOWN_FIELDS, 4 + 4 * len(used), *offsets))
    root = head.add(bytes(4 + 4 * len(used)))
    buffer_vector = head.add(bytes(4 + 4 * (len(buffers) + 1)))
    entry_vector = head.add(bytes(4 + 4 * (len(entries) + 1)))
    # table Metadata { name: string; buffer: uint }, its string right behind it.
    entry_vtable = head.add(struct.pack("<4H", 8, 12, 4, 8))
    name = struct.pack("<I", len(METADATA_NAME)) + METADATA_NAME.encode() + b"\0"
    entry = head.add(struct.pack("<iII", 8, 8, len(buffers)) + name)
    head.set(entry, entry - entry_vtable)
    # table Buffer { data: [ubyte] (force_align: 16) }
    buffer_vtable = head.add(struct.pack("<3H", 6, 8, 4))
    buffer = head.add(bytes(8))
    head.set(buffer, buffer - buffer_vtable)
    head.point(buffer + 4, head.add(struct.pack("<I", len(metadata)) + metadata, align=16, before=4))
    shift = head.add(b"", align=_ALIGNMENT)
    head.point(0, root)
    head.set(root, root - vtable)
    for index, number in enumerate(used):
        place = root + 4 + 4 * index
        if number == _VERSION:
            head.set(place, old.scalar(number))
        else:
            moved = {_BUFFERS: buffer_vector, _METADATA: entry_vector}.get(number)
            head.point(place, shift + old.target(number) if moved is None else moved)
    head.fill(buffer_vector, [*(shift + one for one in buffers), buffer])
    head.fill(entry_vector, [*(shift + one for one in entries), entry])
    return bytes(head.data) + content


def _classifier_metadata(name: str) -> bytes:
    """ModelMetadata of an image classifier."""
    from flatbuffers import Builder  # type: ignore[import-untyped]

    builder = Builder(1024)

    def table(fields: dict[int, tuple[str, Any]], size: int) -> Any:
        """A table with ``size`` fields, of which the given are set: (how, value)."""
        builder.StartObject(size)
        for number, (how, value) in fields.items():
            getattr(builder, f"Prepend{how}Slot")(number, value, 0)
        return builder.EndObject()

    def vector(items: Sequence[Any], how: str = "UOffsetTRelative") -> Any:
        builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            getattr(builder, f"Prepend{how}")(item)
        return builder.EndVector()

    offset, byte = "UOffsetTRelative", "Uint8"
    texts = {
        text: builder.CreateString(text)
        for text in (name, "image", "RGB photo, values 0 to 255", "score", "one score a label", LABELS_NAME)
    }
    file = table({0: (offset, texts[LABELS_NAME]), 2: (byte, _TENSOR_AXIS_LABELS)}, 5)
    files = vector([file])
    image = table({0: (byte, _RGB)}, 2)
    content = table({0: (byte, _IMAGE_PROPERTIES), 1: (offset, image)}, 3)
    mean, std = vector([0.0], "Float32"), vector([1.0], "Float32")
    options = table({0: (offset, mean), 1: (offset, std)}, 2)
    unit = table({0: (byte, _NORMALIZATION_OPTIONS), 1: (offset, options)}, 2)
    units = vector([unit])
    taken = table(
        {
            0: (offset, texts["image"]),
            1: (offset, texts["RGB photo, values 0 to 255"]),
            3: (offset, content),
            4: (offset, units),
        },
        7,
    )
    feature = table({}, 0)
    content = table({0: (byte, _FEATURE_PROPERTIES), 1: (offset, feature)}, 3)
    given = table(
        {
            0: (offset, texts["score"]),
            1: (offset, texts["one score a label"]),
            3: (offset, content),
            6: (offset, files),
        },
        7,
    )
    inputs, outputs = vector([taken]), vector([given])
    graph = table({2: (offset, inputs), 3: (offset, outputs)}, 10)
    graphs = vector([graph])
    builder.Finish(table({0: (offset, texts[name]), 3: (offset, graphs)}, 8), _METADATA_IDENTIFIER)
    return bytes(builder.Output())
