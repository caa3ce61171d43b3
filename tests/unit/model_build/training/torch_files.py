"""Writes what ``torch.save`` wrote before torch 1.6: pickles by hand, as torch is not there to write them."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STORAGES = {np.dtype("float32"): b"FloatStorage", np.dtype("int64"): b"LongStorage"}
MAGIC = 0x1950A86A20F9469CFC6C


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def tensor(key: str, dtype: Any, elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The opcodes that make a tensor; ``strides`` in elements."""
    storage = b"ctorch\n" + _STORAGES[np.dtype(dtype)] + b"\n"
    place = _tuple(_text("storage"), storage, _text(key), _text("cpu"), _number(elements), b"N") + b"Q"
    hooks = b"ccollections\nOrderedDict\n)R"
    numbers = (_tuple(*map(_number, shape)), _tuple(*map(_number, strides)))
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + _tuple(place, _number(offset), *numbers, b"\x89", hooks) + b"R"


def torch_file(entries: Mapping[str, bytes], storages: Mapping[str, NDArray[Any]]) -> bytes:
    """A file of ``entries``, opcodes by name (:func:`tensor`), and ``storages`` by key."""
    items = b"".join(_text(name) + made for name, made in entries.items())
    head = [pickle.dumps(one, 2) for one in (MAGIC, 1001, {"little_endian": True})]
    head += [b"\x80\x02}(" + items + b"u.", pickle.dumps(list(storages), 2)]
    return b"".join([*head, *(struct.pack("<q", one.size) + one.tobytes() for one in storages.values())])


def saved(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """A file that holds these, each with a storage of its own."""
    entries, storages = {}, {}
    for number, (name, one) in enumerate(tensors.items()):
        # As torch does with a transposed tensor: the memory as it lies, and strides to read it by.
        base = one.base if one.base is not None and one.base.size == one.size else np.ascontiguousarray(one)
        strides = tuple(stride // one.itemsize for stride in (one.strides if base is one.base else base.strides))
        entries[name] = tensor(str(number), one.dtype, one.size, 0, one.shape, strides)
        storages[str(number)] = base
    return torch_file(entries, storages)
