"""Reads a .tflite file into plain operators and arrays, without TensorFlow.

The file is a FlatBuffer: a table starts with the signed distance back to its vtable, which says where each field lies
(https://flatbuffers.dev/internals). Field numbers are those of TensorFlow's schema.fbs. Nothing in the file is run.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.contract.errors import WeightsError
from fsgan_core.runtime.arrays import AnyArray, IndexArray

__all__ = ["TFLiteModel", "TFLiteOperator", "read_flexbuffer", "read_tflite"]

_FILE_MARK = b"TFL3"
_CUSTOM_CODE = 32
_OPERATOR_NAMES = {
    0: "add",
    2: "concatenation",
    3: "conv",
    4: "depthwise_conv",
    5: "depth_to_space",
    6: "dequantize",
    9: "fully_connected",
    14: "logistic",
    17: "max_pool",
    18: "mul",
    19: "relu",
    22: "reshape",
    23: "resize_bilinear",
    34: "pad",
    40: "mean",
    45: "strided_slice",
    54: "prelu",
    124: "densify",
}
_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "?", 9: "i1"}
# Options of an operator: name -> (field, type, default).
_CONV_OPTIONS = {"valid": (0, "b", 0), "stride_x": (1, "i", 0), "stride_y": (2, "i", 0)}
_OPTIONS: Mapping[str, Mapping[str, tuple[int, str, int]]] = {
    "add": {"activation": (0, "b", 0)},
    "mul": {"activation": (0, "b", 0)},
    "concatenation": {"axis": (0, "i", 0), "activation": (1, "b", 0)},
    "conv": {**_CONV_OPTIONS, "activation": (3, "b", 0), "dilation_x": (4, "i", 1), "dilation_y": (5, "i", 1)},
    "depthwise_conv": {
        **_CONV_OPTIONS,
        "activation": (4, "b", 0),
        "dilation_x": (5, "i", 1),
        "dilation_y": (6, "i", 1),
    },
    "max_pool": {**_CONV_OPTIONS, "width": (3, "i", 0), "height": (4, "i", 0), "activation": (5, "b", 0)},
    "depth_to_space": {"block": (0, "i", 0)},
    "fully_connected": {"activation": (0, "b", 0)},
    "mean": {"keep": (0, "b", 0)},
    "resize_bilinear": {"align_corners": (2, "b", 0), "half_pixels": (3, "b", 0)},
}


@dataclass(frozen=True)
class TFLiteOperator:
    """One step of the network.

    Attributes:
        name: Such as "conv", or the name of a custom operator.
        inputs: Indices of tensors.
        outputs: Indices of tensors.
        options: Numbers by name.
        custom: Options of a custom operator, in a format of its own.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int]
    custom: bytes


@dataclass(frozen=True)
class TFLiteModel:
    """The content of a .tflite file.

    Attributes:
        names: Name of each tensor.
        shapes: Shape of each tensor; pictures are (1, height, width, channels).
        constants: The arrays of constant tensors by index.
        operators: In the order in which they run.
        inputs: Indices of the network's inputs.
        outputs: Indices of its outputs.
    """

    names: list[str]
    shapes: list[tuple[int, ...]]
    constants: dict[int, AnyArray]
    operators: list[TFLiteOperator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(path: Path) -> TFLiteModel:
    """Reads a .tflite file.

    Raises:
        WeightsError: The file cannot be read, or is not a .tflite file with known operators.
    """
    try:
        data = path.read_bytes()
        if data[4:8] != _FILE_MARK:
            raise WeightsError(f"{path}: not a .tflite file")
        return _read_model(_Table(data, _read_number(data, 0, "I")))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: damaged, or with operators that are not known here ({error!r})") from error


def _read_number(data: bytes, position: int, kind: str) -> Any:
    return struct.unpack_from("<" + kind, data, position)[0]


class _Table:
    """A table of a FlatBuffer; fields are read by number."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._vtable = position - _read_number(data, position, "i")
        self._vtable_size = _read_number(data, self._vtable, "H")

    def _find_field(self, field: int) -> int:
        """Returns the position of a field, 0 if it is not set."""
        entry = 4 + 2 * field
        offset = _read_number(self._data, self._vtable + entry, "H") if entry < self._vtable_size else 0
        return self._position + offset if offset else 0

    def _follow_field(self, field: int) -> int:
        place = self._find_field(field)
        return place + _read_number(self._data, place, "I") if place else 0

    def read_number(self, field: int, kind: str = "i", default: int = 0) -> int:
        place = self._find_field(field)
        return int(_read_number(self._data, place, kind)) if place else default

    def read_table(self, field: int) -> _Table | None:
        place = self._follow_field(field)
        return _Table(self._data, place) if place else None

    def read_tables(self, field: int) -> list[_Table]:
        start = self._follow_field(field)
        places = range(start + 4, start + 4 + 4 * _read_number(self._data, start, "I"), 4) if start else range(0)
        return [_Table(self._data, place + _read_number(self._data, place, "I")) for place in places]

    def read_array(self, field: int, dtype: str = "<i4") -> AnyArray:
        start = self._follow_field(field)
        if not start:
            return np.zeros(0, dtype)
        return np.frombuffer(self._data, dtype, _read_number(self._data, start, "I"), start + 4)

    def read_integers(self, field: int) -> tuple[int, ...]:
        return tuple(self.read_array(field).tolist())

    def read_text(self, field: int) -> str:
        return self.read_array(field, "u1").tobytes().decode()


def _read_model(model: _Table) -> TFLiteModel:
    codes = [_read_operator_name(code) for code in model.read_tables(1)]
    graph, *others = model.read_tables(2)
    if others:
        raise ValueError("more than one graph")
    buffers = model.read_tables(4)
    names, shapes, constants = [], [], {}
    for index, tensor in enumerate(graph.read_tables(0)):
        names.append(tensor.read_text(3))
        shapes.append(tensor.read_integers(0))
        stored = buffers[tensor.read_number(2, "I")].read_array(0, "u1")
        if len(stored):
            values = np.frombuffer(stored.tobytes(), _DTYPES[tensor.read_number(1, "b")])
            sparsity = tensor.read_table(6)
            constants[index] = (
                _fill_dense(values, shapes[-1], sparsity) if sparsity is not None else values.reshape(shapes[-1])
            )
    operators = [_read_operator(operator, codes) for operator in graph.read_tables(3)]
    return TFLiteModel(names, shapes, constants, operators, graph.read_integers(1), graph.read_integers(2))


def _read_operator_name(code: _Table) -> str:
    number = max(code.read_number(0, "b"), code.read_number(3))  # the older field ends at 127
    return code.read_text(1) if number == _CUSTOM_CODE else _OPERATOR_NAMES[number]


def _read_operator(operator: _Table, codes: list[str]) -> TFLiteOperator:
    name = codes[operator.read_number(0, "I")]
    table = operator.read_table(4)
    options = {
        option: table.read_number(*place) if table is not None else place[2]
        for option, place in _OPTIONS.get(name, {}).items()
    }
    return TFLiteOperator(
        name, operator.read_integers(1), operator.read_integers(2), options, operator.read_array(5, "u1").tobytes()
    )


def _fill_dense(values: AnyArray, shape: tuple[int, ...], sparsity: _Table) -> AnyArray:
    """Unpacks a sparse array.

    TFLite keeps it as a tree with one level per dimension. A dense level has a node for every index, a sparse level
    only for listed ones (as in a CSR matrix). Levels after the array's own dimensions are blocks of the dimensions that
    `block_map` names.
    """
    order, block_map = sparsity.read_integers(0), sparsity.read_integers(1)
    levels = sparsity.read_tables(2)
    nodes: IndexArray = np.zeros(1, np.int64)
    indices: list[IndexArray] = []  # per level, the index of each node on the way to it
    for level in levels:
        if level.read_number(0, "b"):
            starts, listed = (_read_integer_vector(level, field) for field in (2, 4))
            counts = starts[nodes + 1] - starts[nodes]
            nodes = np.concatenate([np.arange(starts[node], starts[node + 1]) for node in nodes])
            own = listed[nodes]
        else:
            size = level.read_number(1)
            counts = np.full(len(nodes), size)
            own = np.tile(np.arange(size), len(nodes))
            nodes = np.repeat(nodes, size) * size + own
        indices = [*(np.repeat(index, counts) for index in indices), own]
    block_sizes = np.ones(len(shape), np.int64)
    for block, axis in enumerate(block_map):
        block_sizes[axis] *= levels[len(shape) + block].read_number(1)
    place = np.zeros((len(shape), len(nodes)), np.int64)
    for axis, index in zip(order, indices, strict=True):
        if axis < len(shape):
            place[axis] += index * block_sizes[axis]
        else:
            place[block_map[axis - len(shape)]] += index
    result = np.zeros(shape, values.dtype)
    result[tuple(place)] = values
    return result


def _read_integer_vector(level: _Table, field: int) -> IndexArray:
    """Reads a vector from a union of types: its type's number in one field, its table in the next."""
    table = level.read_table(field + 1)
    if table is None:
        raise ValueError("a sparse dimension without indices")
    return table.read_array(0, {1: "<i4", 2: "<u2", 3: "u1"}[level.read_number(field, "B")]).astype(np.int64)


def read_flexbuffer(data: bytes) -> dict[str, Any]:
    """Reads the options of a custom operator: a FlexBuffer with one map of numbers and lists of whole numbers.

    Raises:
        WeightsError: It holds anything else.

    >>> read_flexbuffer(bytes([97, 0, 1, 3, 1, 1, 1, 7, 4, 2, 36, 1]))
    {'a': 7}
    """
    try:
        width = data[-1]
        return _read_flex_map(data, _follow_back(data, len(data) - 2 - width, width), 1 << (data[-2] & 3))
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise WeightsError(f"options of an operator cannot be read ({error!r})") from error


_UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}
_SIGNED = {1: "b", 2: "h", 4: "i", 8: "q"}
_FLOATING = {4: "f", 8: "d"}
_FLEX_NUMBERS = {1: _SIGNED, 2: _UNSIGNED, 3: _FLOATING, 26: _UNSIGNED}
_FLEX_VECTORS = {11: _SIGNED, 12: _UNSIGNED, 13: _FLOATING}
_FLEX_VECTOR = 10


def _follow_back(data: bytes, position: int, width: int) -> int:
    return position - int(_read_number(data, position, _UNSIGNED[width]))


def _read_flex_map(data: bytes, position: int, width: int) -> dict[str, Any]:
    count = _read_number(data, position - width, _UNSIGNED[width])
    keys = _follow_back(data, position - 3 * width, width)
    key_width = _read_number(data, position - 2 * width, _UNSIGNED[width])
    result = {}
    for index in range(count):
        start = _follow_back(data, keys + index * key_width, key_width)
        name = data[start : data.index(0, start)].decode()
        result[name] = _read_flex_value(data, position + index * width, width, data[position + count * width + index])
    return result


def _read_flex_value(data: bytes, position: int, width: int, packed: int) -> Any:
    kind, own_width = packed >> 2, 1 << (packed & 3)
    if kind in _FLEX_NUMBERS:
        return _read_number(data, position, _FLEX_NUMBERS[kind][width])
    start = _follow_back(data, position, width)
    count = _read_number(data, start - own_width, _UNSIGNED[own_width])
    places = [start + index * own_width for index in range(count)]
    if kind == _FLEX_VECTOR:
        types = data[start + count * own_width :]
        return [_read_flex_value(data, place, own_width, types[index]) for index, place in enumerate(places)]
    return [_read_number(data, place, _FLEX_VECTORS[kind][own_width]) for place in places]
