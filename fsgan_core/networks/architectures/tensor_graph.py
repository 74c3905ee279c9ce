"""Networks whose graph is data: a JSON file in graphs/ lists their steps, each one of a closed list of operators.

MediaPipe's face and hand networks are made this way; networks/weights/mediapipe.py writes their files. A step is

    {"name": "conv3", "op": "conv", "of": ["conv2"], "in": 16, "out": 32, "kernel": [3, 3], "stride": 1, ...}

where `of` names earlier steps, or "picture" for the network's input, and the rest are the arguments of the module in
OPERATORS. Between steps, pictures are (n, channels, height, width) and lists of points or boxes (n, rows, columns).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["OPERATORS", "TensorGraph", "read_graph"]

_FOLDER = Path(__file__).parent / "graphs"


def read_graph(name: str) -> dict[str, Any]:
    """Reads a graph, one of `build.GRAPH_NAMES`.

    Returns:
        `input`: channels, height and width; `steps`: see the module; `outputs`: step of each output by name.
    """
    graph: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))
    return graph


class TensorGraph(nn.Module):
    """Runs the steps of a graph one after the other.

    Input: float32 (n, channels, height, width). Output: a tuple of tensors in the order of `output_names`.
    """

    cpu_threads = 1  # the steps are too small to be shared between threads

    def __init__(self, graph: str) -> None:
        super().__init__()
        described = read_graph(graph)
        self.output_names = tuple(described["outputs"])
        self._outputs = tuple(described["outputs"].values())
        self._steps = [(step["name"], tuple(step["of"])) for step in described["steps"]]
        for step in described["steps"]:
            arguments = {key: value for key, value in step.items() if key not in ("name", "op", "of")}
            self.add_module(step["name"], OPERATORS[step["op"]](**arguments))

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Computes all outputs."""
        values = {"picture": picture}
        for name, sources in self._steps:
            values[name] = self.get_submodule(name)(*(values[source] for source in sources))
        return tuple(values[name] for name in self._outputs)


class _Activation(nn.Module):
    """What follows a convolution or a sum: nothing, a clip, or a slope of its own per channel for negative values."""

    def __init__(self, kind: str, channels: int) -> None:
        super().__init__()
        self._kind = kind
        if kind == "prelu":
            self.slope = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self._kind == "prelu":
            return functional.prelu(x, self.slope)
        if self._kind == "relu":
            return functional.relu(x, inplace=True)  # nobody else reads what comes before it
        return functional.relu6(x, inplace=True) if self._kind == "relu6" else x


class _Convolution(nn.Module):
    """A convolution with bias. `pad` is left, right, top, bottom; `in` and `out` are channels."""

    def __init__(
        self, kernel: Sequence[int], stride: int, pad: Sequence[int], groups: int, activation: str = "", **channels: int
    ) -> None:
        super().__init__()
        left, right, top, bottom = pad
        self._pad = None if (left, top) == (right, bottom) else (left, right, top, bottom)
        self.conv = nn.Conv2d(
            channels["in"],
            channels["out"],
            (kernel[0], kernel[1]),
            stride,
            (0, 0) if self._pad else (top, left),
            groups=groups,
        )
        self.activation = _Activation(activation, channels["out"])

    def forward(self, x: Tensor) -> Tensor:
        if self._pad is not None:
            x = functional.pad(x, self._pad)
        result: Tensor = self.activation(self.conv(x))
        return result


class _Sum(nn.Module):
    """Adds two pictures; the first one may have fewer channels, then the others are as if they were 0."""

    def __init__(self, channels: int, missing: int = 0, activation: str = "") -> None:
        super().__init__()
        self._missing = missing
        self.activation = _Activation(activation, channels)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if self._missing:
            x = functional.pad(x, (0, 0, 0, 0, 0, self._missing))
        result: Tensor = self.activation(x + y)
        return result


class _Halve(nn.Module):
    """Takes the maximum of each 2 x 2 pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 2)


class _Resize(nn.Module):
    """Resizes bilinearly by a whole factor; pixel edges stay aligned."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self._factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=float(self._factor), mode="bilinear", align_corners=False)


class _DepthToSpace(nn.Module):
    """Spreads channels over block x block pixels, in TensorFlow's order of channels."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self._block = block

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        k = self._block
        return x.reshape(n, k, k, c // (k * k), h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // (k * k), h * k, w * k)


class _Rows(nn.Module):
    """Lays a picture out as rows of `columns` numbers: pixel by pixel, each with its channels."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns = columns

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, self._columns)


class _Join(nn.Module):
    """Puts the rows of several lists one below the other."""

    def forward(self, *lists: Tensor) -> Tensor:
        return torch.cat(lists, 1)


class _Mean(nn.Module):
    """Averages over all pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class _Linear(nn.Module):
    """A linear layer with bias; `in` and `out` are its widths."""

    def __init__(self, activation: str = "", **widths: int) -> None:
        super().__init__()
        self.linear = nn.Linear(widths["in"], widths["out"])
        self._is_sigmoid = activation == "sigmoid"

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return torch.sigmoid(y) if self._is_sigmoid else y


class _FitSquare(nn.Module):
    """Fits the rotated rectangle around some landmarks, as MediaPipe's operator Landmarks2TransformMatrix does.

    Args:
        scale: From the landmarks' pixels to those of the picture that is cropped.
        left: Index of the landmark on the left end of the horizontal line.
        right: Index of that on its right end.
        around: Indices of the landmarks that the rectangle surrounds.
        size: Width and height of the crop in pixels.
        margin: Factors by which the rectangle is widened.

    Returns:
        (n, 2, 3): from pixels of the crop to pixels of the picture, edges at whole numbers.
    """

    around: Tensor
    size: Tensor
    margin: Tensor

    def __init__(
        self,
        scale: float,
        left: int,
        right: int,
        around: Sequence[int],
        size: Sequence[int],
        margin: Sequence[float],
    ) -> None:
        super().__init__()
        self._scale, self._left, self._right = scale, left, right
        self.register_buffer("around", torch.tensor(around), persistent=False)
        self.register_buffer("size", torch.tensor(size, dtype=torch.float32), persistent=False)
        self.register_buffer("margin", torch.tensor(margin), persistent=False)

    def forward(self, landmarks: Tensor) -> Tensor:
        points = landmarks[..., :2] * self._scale
        line = points[:, self._right] - points[:, self._left]
        angle = torch.atan2(line[:, 1], line[:, 0])
        cos, sin = torch.cos(angle), torch.sin(angle)
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)  # crop to picture
        upright = points.index_select(1, self.around) @ turn
        low, high = upright.amin(1), upright.amax(1)
        middle = (turn @ ((low + high) / 2)[..., None])[..., 0]
        linear = turn * (self.margin * (high - low) / self.size)[:, None, :]
        return torch.cat([linear, (middle - (linear @ (self.size / 2)[:, None])[..., 0])[..., None]], -1)


class _CropFeatures(nn.Module):
    """Samples a picture bilinearly inside a rectangle of `_FitSquare`; 0 beyond the middles of the outermost pixels."""

    points: Tensor
    last: Tensor

    def __init__(self, size: Sequence[int], area: Sequence[int]) -> None:
        super().__init__()
        self._width, self._height = size
        ys, xs = torch.meshgrid(torch.arange(size[1]) + 0.5, torch.arange(size[0]) + 0.5, indexing="ij")
        self.register_buffer("points", torch.stack([xs, ys], -1).reshape(1, -1, 2), persistent=False)
        self.register_buffer("last", torch.tensor(area, dtype=torch.float32) - 1, persistent=False)

    def forward(self, x: Tensor, square: Tensor) -> Tensor:
        points = self.points @ square[:, :, :2].transpose(1, 2) + square[:, None, :, 2] - 0.5
        inside = ((points >= 0) & (points <= self.last)).all(-1).reshape(-1, 1, self._height, self._width)
        grid = (2 * points / self.last - 1).reshape(-1, self._height, self._width, 2)
        sampled = functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        return sampled * inside


class _PlacePoints(nn.Module):
    """Maps points of a rectangle of `_FitSquare` back; `scale` is that from its picture to the landmarks' pixels."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def forward(self, points: Tensor, square: Tensor) -> Tensor:
        return points @ square[:, :, :2].transpose(1, 2) + square[:, None, :, 2] * self._scale


OPERATORS: Mapping[str, Callable[..., nn.Module]] = {
    "conv": _Convolution,
    "sum": _Sum,
    "halve": _Halve,
    "resize": _Resize,
    "depth_to_space": _DepthToSpace,
    "rows": _Rows,
    "join": _Join,
    "mean": _Mean,
    "linear": _Linear,
    "fit_square": _FitSquare,
    "crop_features": _CropFeatures,
    "place_points": _PlacePoints,
}
