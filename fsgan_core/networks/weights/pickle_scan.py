"""Checks what a pickled checkpoint declares, before any of it is loaded.

A .pth file is a pickle with raw numbers beside it, in a zip archive (torch 1.6 and later) or in a stream (before). A
pickle is a program. The unpickler here has stand-ins for the few names that a checkpoint needs and refuses every other
name; a stand-in only holds what it is given. This proves, before torch reads the file, that the file asks only for
tensors and plain values, that each tensor lies within its storage, and that every storage has its declared length
(torch does not check that last point).
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from fsgan_core.contract.errors import WeightsError

__all__ = ["LEFTOVER_NAMES", "Leftover", "check_pickled"]

# Bytes. The largest published file, a VGG-19 with its classifier and optimizer state, has about 2 GB.
FILE_LIMIT = 4 << 30
# Bytes. Pickles of the published files have some 100 kB; the numbers are stored outside of them.
PICKLE_LIMIT = 32 << 20
MAX_DIMENSIONS = 32  # of a tensor
MAX_ARGUMENTS = 16  # of a call; those of torch.save have at most 7
RECORD_LIMIT = 100_000  # files in the zip archive
MAX_ENTRIES = 1_000_000  # that are given to ordered dicts as arguments
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch.save's first pickle, before torch 1.6
LEGACY_PICKLES = 5

# Names of torch's storage classes -> bytes per number.
STORAGE_SIZES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}

# Classes that training leaves beside the weights (best loss, options). None is ever made: a Leftover replaces each.
LEFTOVER_NAMES = (
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.dtype",
    "numpy.ndarray",
    "argparse.Namespace",
    "collections.defaultdict",
    "torch.device",
    "torch.Size",
    "_codecs.encode",
)


class Leftover:
    """Stands for an object that we do not need; accepts any arguments and holds nothing."""

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class _DeclaredStorage:
    key: str
    element_count: int
    element_size: int


@dataclass(frozen=True)
class _DeclaredTensor:
    storage: _DeclaredStorage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def is_within_storage(self) -> bool:
        if not all(isinstance(number, int) for number in (self.offset, *self.shape, *self.stride)):
            return False
        if len(self.shape) != len(self.stride) or min((self.offset, *self.shape, *self.stride)) < 0:
            return False
        if max((self.offset, *self.shape, *self.stride)) > FILE_LIMIT:
            return False
        if math.prod(self.shape) == 0:
            return True
        last = self.offset + sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        return last < self.storage.element_count


# The opcodes that torch.save writes. A pickle can do more, but other opcodes are refused.
ALLOWED_OPCODES = (
    pickle.PROTO,
    pickle.STOP,
    pickle.GLOBAL,
    pickle.NEWOBJ,
    pickle.REDUCE,
    pickle.BUILD,
    pickle.MARK,
    pickle.BINPERSID,
    pickle.APPEND,
    pickle.APPENDS,
    pickle.SETITEM,
    pickle.SETITEMS,
    pickle.EMPTY_LIST,
    pickle.EMPTY_DICT,
    pickle.EMPTY_TUPLE,
    pickle.TUPLE,
    pickle.TUPLE1,
    pickle.TUPLE2,
    pickle.TUPLE3,
    pickle.NONE,
    pickle.NEWTRUE,
    pickle.NEWFALSE,
    pickle.BININT,
    pickle.BININT1,
    pickle.BININT2,
    pickle.LONG1,
    pickle.BINFLOAT,
    pickle.BINUNICODE,
    pickle.SHORT_BINSTRING,
    pickle.BINPUT,
    pickle.LONG_BINPUT,
    pickle.BINGET,
    pickle.LONG_BINGET,
)


class _PickleWalker(pickle._Unpickler):
    """Python's own unpickler in Python. Unlike the one in C, it allocates no memory for sizes that a file declares."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in ALLOWED_OPCODES
    }

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def load_build(self) -> None:
        """Drops attributes; the stand-ins take none."""
        self.stack.pop()

    def load_setitem(self) -> None:
        """Sets one entry of a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set_item(key, value)

    def load_setitems(self) -> None:
        """Sets several entries of a dict."""
        items = self.pop_mark()
        for place in range(0, len(items), 2):
            self._set_item(items[place], items[place + 1])

    def load_reduce(self) -> None:
        """Calls a stand-in."""
        arguments, function = self.stack.pop(), self.stack[-1]
        self._check_arguments(arguments)
        self.stack[-1] = function(*arguments)

    def load_newobj(self) -> None:
        """Makes a stand-in."""
        arguments, made_class = self.stack.pop(), self.stack[-1]
        self._check_arguments(arguments)
        self.stack[-1] = made_class(*arguments)

    dispatch.update(
        {
            pickle.BUILD[0]: load_build,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
            pickle.REDUCE[0]: load_reduce,
            pickle.NEWOBJ[0]: load_newobj,
        }
    )

    @staticmethod
    def _check_arguments(arguments: Any) -> None:
        # A pickle can name one long tuple many times; every call would copy it.
        if not isinstance(arguments, tuple) or len(arguments) > MAX_ARGUMENTS:
            raise ValueError("a call with too many arguments")

    def _make_mapping(self, items: Any = (), *rest: Any) -> Any:
        """Makes an ordered dict. Python 2 wrote its entries as an argument, Python 3 sets them one by one."""
        if rest or not isinstance(items, (list, tuple)):
            raise ValueError("an ordered dict that is not made of entries")
        self._argument_entries += len(items)
        if self._argument_entries > MAX_ENTRIES:
            raise ValueError("too many entries")
        mapping = _MappingStandIn()
        for item in items:
            if not isinstance(item, (list, tuple)) or len(item) != 2:
                raise ValueError("an entry that is not a name and a value")
            _check_key(item[0])
            mapping[item[0]] = item[1]
        return mapping

    def _set_item(self, key: Any, value: Any) -> None:
        if not isinstance(self.stack[-1], dict):
            raise ValueError("an entry of something that has none")
        _check_key(key)
        self.stack[-1][key] = value

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin-1")
        self.storages: dict[str, _DeclaredStorage] = {}
        self.tensors: list[_DeclaredTensor] = []
        self._argument_entries = 0

    def find_class(self, module: str, name: str) -> Any:
        """Returns the stand-in for a name that the pickle asks for. Raises _RefusedNameError for any other name."""
        known: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": self._make_mapping,
            "torch._utils._rebuild_tensor": self._declare_tensor,
            "torch._utils._rebuild_tensor_v2": self._declare_tensor,
            "torch._utils._rebuild_parameter": _return_first,
            "torch.nn.parameter.Parameter": _return_first,
        }
        full = f"{module}.{name}"
        if full in known:
            return known[full]
        if full in LEFTOVER_NAMES:
            return Leftover
        if module == "torch" and name in STORAGE_SIZES:
            return name
        raise _RefusedNameError(full)

    def persistent_load(self, pid: Any) -> _DeclaredStorage:
        """Records a declared storage. Raises ValueError if it is malformed."""
        kind, name, key, _place, numbers = pid[:5]
        if (
            kind != "storage"
            or not isinstance(name, str)
            or name not in STORAGE_SIZES
            or not isinstance(key, (str, int))
            or not isinstance(numbers, int)
            or numbers < 0
        ):
            raise ValueError("an entry that is not a storage")
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError("a storage that is part of another")
        storage = _DeclaredStorage(str(key), numbers, STORAGE_SIZES[name])
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {key} is declared twice, with different sizes")
        return storage

    def _declare_tensor(
        self, storage: _DeclaredStorage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_rest: Any
    ) -> _DeclaredTensor:
        if not all(isinstance(sides, (tuple, list)) and len(sides) <= MAX_DIMENSIONS for sides in (shape, stride)):
            raise ValueError("a tensor of too many dimensions")
        tensor = _DeclaredTensor(storage, offset, tuple(shape), tuple(stride))
        if not tensor.is_within_storage():
            raise ValueError(f"a tensor of shape {tensor.shape} reaches beyond its storage")
        self.tensors.append(tensor)
        return tensor


class _MappingStandIn(dict[Any, Any]):
    """Stands for an ordered dict, which may also have attributes."""

    def __setstate__(self, state: Any) -> None:
        pass


def _check_key(key: Any) -> None:
    # The hash of deeply shared nested tuples takes forever, so tuples are not allowed as keys.
    if not isinstance(key, (str, bytes, int)):
        raise ValueError("an entry whose name is not text")


class _RefusedNameError(Exception):
    pass


def _return_first(value: Any, *_rest: Any) -> Any:
    return value


def check_pickled(path: Path, stream: BinaryIO) -> None:
    """Checks that a checkpoint may be given to torch.

    Args:
        path: The file, for the message.
        stream: The open file, seekable; it is at its start afterwards.

    Raises:
        WeightsError: The file is damaged, too large, or asks for anything but weights.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if size > FILE_LIMIT:
        raise WeightsError(
            f"{path}: {size / 2**30:.1f} GiB; no known weights exceed {FILE_LIMIT >> 30} GiB, so it is not read"
        )
    try:
        if stream.read(4) == b"PK\3\4":
            _check_archive(stream, size)
        else:
            stream.seek(0)
            _check_stream(stream, size)
    except _RefusedNameError as refused:
        raise WeightsError(
            f"{path}: the file asks for '{refused}', which is neither weights nor what training usually leaves beside "
            "them, so nothing of it was loaded; if you trust its origin, load it on a machine without secrets and save "
            "only its 'arch' and 'state_dict' with torch.save"
        ) from None
    except (MemoryError, RecursionError) as error:
        raise WeightsError(f"{path}: not a checkpoint that can be read ({type(error).__name__})") from error
    except Exception as error:
        # A hostile or cut file can make the unpickler or the archive reader raise anything.
        reason = str(error) if isinstance(error, (ValueError, zipfile.BadZipFile)) else type(error).__name__
        raise WeightsError(f"{path}: broken, cut off or not a checkpoint ({reason}); copy or fetch it again") from error
    stream.seek(0)


def _check_archive(stream: BinaryIO, size: int) -> None:
    with zipfile.ZipFile(stream) as archive:
        records = archive.infolist()
        if len(records) > RECORD_LIMIT:
            raise ValueError(f"{len(records)} records")
        sizes = {record.filename: record.file_size for record in records}
        if len(sizes) != len(records):
            raise ValueError("a record occurs twice")
        # Checkpoints are never compressed. A record that declares more than the file holds could fill the memory.
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ValueError("its records are compressed")
        if sum(sizes.values()) > size:
            raise ValueError("its records declare more than the file holds")
        root = next(
            (name[: -len("data.pkl")] for name in sizes if name.endswith("/data.pkl") and name.count("/") == 1), None
        )
        if root is None:
            raise ValueError("an archive without data.pkl")
        if f"{root}constants.pkl" in sizes:
            raise ValueError("a TorchScript program, not weights")
        if sizes[f"{root}data.pkl"] > PICKLE_LIMIT:
            raise ValueError("its pickle is too long")
        walker = _PickleWalker(io.BytesIO(archive.read(f"{root}data.pkl")))
        walker.load()
    for storage in walker.storages.values():
        if sizes.get(f"{root}data/{storage.key}") != storage.element_count * storage.element_size:
            raise ValueError(f"record {storage.key} does not have its declared length")


def _check_stream(stream: BinaryIO, size: int) -> None:
    head = io.BytesIO(stream.read(PICKLE_LIMIT))
    values = []
    for place in range(LEGACY_PICKLES):
        walker = _PickleWalker(head)
        value = walker.load()
        if place == 0 and value != LEGACY_MAGIC:
            raise ValueError("not written by torch.save")
        if place == 3:
            storages = walker.storages
        values.append(value)
    declared = sum(storage.element_count * storage.element_size for storage in storages.values())
    if head.tell() + declared > size:
        raise ValueError("cut off: its tensors are more than the file holds")
    if not isinstance(values[4], list) or not all(isinstance(key, str) and key in storages for key in values[4]):
        raise ValueError("its list of storages does not match its tensors")
