from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from model_build.training.torch_file import read_tensors
from tests.unit.model_build.training.torch_files import MAGIC, saved, tensor, torch_file

_FLOATS = arrays(np.float32, array_shapes(max_dims=4, max_side=4), elements=st.floats(width=32, allow_nan=False))
_TWO: dict[str, NDArray[Any]] = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.array(7, dtype=np.int64)}


@given(st.lists(_FLOATS, min_size=1, max_size=3))
def test_tensors_come_back_whichever_way_their_memory_lies(values: list[NDArray[np.float32]]) -> None:
    tensors = {f"t{number}": value.transpose() if number % 2 else value for number, value in enumerate(values)}
    found = read_tensors(saved(tensors))
    assert list(found) == list(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)


@given(st.data())
def test_a_file_that_is_cut_is_refused(data: st.DataObject) -> None:
    content = saved(_TWO)
    with pytest.raises(ValueError):
        read_tensors(content[: data.draw(st.integers(0, len(content) - 1))])


class _Touch:
    """Unpickled as usual, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("place", range(4))
def test_no_code_of_a_hostile_file_runs(tmp_path: Path, place: int) -> None:
    bait = tmp_path / "touched"
    parts = [pickle.dumps(one, 2) for one in (MAGIC, 1001, None, None, None)]
    parts[place] = pickle.dumps({"weight": _Touch(bait)}, 2)
    with pytest.raises(ValueError, match="is no part of a dictionary of tensors"):
        read_tensors(b"".join(parts))
    assert not bait.exists()
    pickle.loads(parts[place])  # it would have
    assert bait.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cbuiltins\neval\n",
        b"cos\nsystem\n",
        b"ctorch\nload\n",
        b"ccollections\nOrderedDict.fromkeys\n",
        b"cnumpy\nload\n",
    ],
)
def test_no_other_name_means_anything(opcodes: bytes) -> None:
    with pytest.raises(ValueError, match="is no part of a dictionary of tensors"):
        read_tensors(torch_file({"weight": opcodes}, {}))


@pytest.mark.parametrize(
    ("elements", "offset", "shape", "strides", "stored"),
    [
        (4, 0, (5,), (1,), 4),
        (4, 1, (4,), (1,), 4),
        (4, 0, (2, 2), (3, 1), 4),
        (4, 3, (4,), (-1,), 4),
        (4, -1, (1,), (1,), 4),
        (2**31 - 1, 0, (2**31 - 1,), (1,), 4),
    ],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(
    elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], stored: int
) -> None:
    entry = tensor("0", np.float32, elements, offset, shape, strides)
    with pytest.raises(ValueError, match="storage"):
        read_tensors(torch_file({"weight": entry}, {"0": np.zeros(stored, np.float32)}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps(1, 2) * 5, pickle.dumps(MAGIC, 2) * 5])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_tensors(content)
