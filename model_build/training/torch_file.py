"""The tensors of a file that ``torch.save`` wrote before torch 1.6, read without torch and without running its code.

Such a file is a row of pickles (magic number, protocol, system, the object, the storages' keys) and then, in the order
of the keys, each storage: its number of elements as int64 and the elements (torch/serialization.py, ``_legacy_save``).
Unpickling can call anything by its name; here the names of a dictionary of tensors mean what is below, and no other
name means anything. Read verified files only: what a pickle makes unpickling allocate has no bound.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    elements: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, elements: NDArray[Any]) -> NDArray[Any]:
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.strides), default=0) < 0 or min(self.shape, default=1) < 1 or last >= len(elements):
            raise ValueError("a tensor reaches beyond its storage")
        steps = tuple(stride * elements.itemsize for stride in self.strides)
        return as_strided(elements[self.offset :], self.shape, steps, writeable=False)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """In place of ``torch._utils._rebuild_tensor_v2``; whether it needs a gradient does not matter here."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a dictionary of tensors")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, elements, view = pid
        if kind != "storage" or view is not None or dtype not in _STORAGES.values():
            raise pickle.UnpicklingError("an unknown kind of storage")
        return _Storage(str(key), dtype, int(elements))


def read_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """The tensors by name, in the file's order, float32 or int64; they share ``content``'s memory and are read-only.

    Raises:
        ValueError: it is no such file, or is truncated, or names anything but tensors.
    """
    file = io.BytesIO(content)
    try:
        if (_load(file), _load(file)) != (_MAGIC, _PROTOCOL):
            raise ValueError("it is not a file of torch.save's old format")
        _load(file)  # the system: every machine that this runs on is little-endian, as all such files are
        tensors, keys = _load(file), _load(file)
        if not isinstance(tensors, dict) or not all(isinstance(one, _Tensor) for one in tensors.values()):
            raise ValueError("it is not a dictionary of tensors")
        wanted = {one.storage.key: one.storage for one in tensors.values()}
        storages = {}
        for key in keys:
            storage, (elements,) = wanted[key], struct.unpack("<q", file.read(8))
            if elements != storage.elements or elements < 0:
                raise ValueError("a storage is of another size than its tensors say")
            storages[key] = np.frombuffer(content, storage.dtype, elements, file.tell())
            file.seek(storages[key].nbytes, io.SEEK_CUR)
        return {str(name): one.of(storages[one.storage.key]) for name, one in tensors.items()}
    # A damaged pickle raises most of the built-in exceptions.
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _load(file: io.BytesIO) -> Any:
    return _Unpickler(file).load()
