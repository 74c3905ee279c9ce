"""Makes our files of MediaPipe's networks: the graph as JSON, the weights as .safetensors.

The originals lie in the PyPI wheel of mediapipe 0.10.21 (Apache-2.0), in mediapipe/modules. Unpack it and run

    from fsgan_core.networks.weights.mediapipe import convert_networks
    convert_networks(Path("mediapipe-0.10.21/mediapipe/modules"))

Their numbers are float16 already, so nothing is lost. The layout becomes (channels, height, width), zero padding and
activations become part of the convolution, sum or linear layer beside them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks.weights.tflite_reader import TFLiteModel, TFLiteOperator, read_flexbuffer, read_tflite
from fsgan_core.runtime.arrays import AnyArray, Vector
from fsgan_core.runtime.atomic import write_atomically

__all__ = ["SOURCES", "convert_network", "convert_networks"]

# Our name -> file below mediapipe/modules, and our names of its outputs in its order.
SOURCES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "face_mesh": (
        "face_landmark/face_landmark_with_attention.tflite",
        ("mesh", "lips", "left_eye", "right_eye", "left_iris", "right_iris", "face"),
    ),
    "face_full_range": ("face_detection/face_detection_full_range_sparse.tflite", ("boxes", "scores")),
    "face_short_range": ("face_detection/face_detection_short_range.tflite", ("boxes", "scores")),
    "palm": ("palm_detection/palm_detection_full.tflite", ("boxes", "scores")),
    "hand": ("hand_landmark/hand_landmark_full.tflite", ("landmarks", "presence", "side", "world")),
}
_ACTIVATIONS = {0: "", 1: "relu", 3: "relu6"}

Step = dict[str, Any]


def convert_networks(modules: Path, weights_folder: Path | None = None, graphs_folder: Path | None = None) -> None:
    """Converts all networks of SOURCES.

    Args:
        modules: The folder mediapipe/modules.
        weights_folder: Where NAME.safetensors and its digest go; by default the package's own.
        graphs_folder: Where NAME.json goes; by default the package's own.

    Raises:
        WeightsError: A file cannot be read, or has steps that are not known here.
        OutputError: A file cannot be written.
    """
    import torch

    from fsgan_core.networks.weights.catalogue import load_catalogue, make_weights_metadata
    from fsgan_core.networks.weights.checkpoint import write_checkpoint
    from fsgan_core.networks.weights.digests import record_digest

    weights_folder = weights_folder or Path(__file__).parent
    graphs_folder = graphs_folder or Path(__file__).parents[1] / "architectures" / "graphs"
    for name, (file, outputs) in SOURCES.items():
        graph, state = convert_network(modules / file, outputs)
        with write_atomically(graphs_folder / f"{name}.json") as temporary:
            temporary.write_text(format_graph(graph), "utf-8")
        info = load_catalogue()[f"mediapipe_{name}"]
        path = weights_folder / info.file
        tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
        write_checkpoint(path, info.arch, tensors, make_weights_metadata(info))
        record_digest(path)


def convert_network(path: Path, outputs: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Converts one .tflite file.

    Args:
        path: The file.
        outputs: A name for each of its outputs.

    Returns:
        The graph of `tensor_graph`, and its parameters by name, float16.

    Raises:
        WeightsError: The file cannot be read, or has steps that are not known here.
    """
    try:
        return _Converter(read_tflite(path)).convert(outputs)
    except (KeyError, AssertionError, ValueError) as error:
        raise WeightsError(f"{path}: this network has steps that are not known here ({error!r})") from error


def format_graph(graph: Mapping[str, Any]) -> str:
    """Formats a graph as JSON with one step a line."""
    steps = ",\n".join(f"  {json.dumps(step)}" for step in graph["steps"])
    ends = {name: json.dumps(graph[name]) for name in ("input", "outputs")}
    return f'{{\n "input": {ends["input"]},\n "steps": [\n{steps}\n ],\n "outputs": {ends["outputs"]}\n}}\n'


class _Converter:
    """Goes through the operators of one file."""

    def __init__(self, model: TFLiteModel) -> None:
        self._model = model
        self._constants = dict(model.constants)
        self._steps: list[Step] = []
        self._state: dict[str, AnyArray] = {}
        self._counts: Counter[str] = Counter()
        self._names = {model.inputs[0]: "picture"}  # step that makes a tensor
        self._pads: dict[int, tuple[int, AnyArray]] = {}  # padded tensor -> tensor before, widths of the borders
        self._scales: dict[int, tuple[int, AnyArray]] = {}  # scaled tensor -> tensor before, factors
        self._uses = Counter(index for operator in model.operators for index in operator.inputs)
        self._uses.update(model.outputs)

    def convert(self, outputs: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        for operator in self._model.operators:
            _HANDLERS[operator.name](self, operator)
        _, height, width, channels = self._model.shapes[self._model.inputs[0]]
        ends = dict(zip(outputs, (self._names[index] for index in self._model.outputs), strict=True))
        return {"input": [channels, height, width], "steps": self._steps, "outputs": ends}, self._state

    def _add_step(self, op: str, operator: TFLiteOperator, sources: list[int], **arguments: Any) -> str:
        self._counts[op] += 1
        name = f"{op}{self._counts[op]}"
        of = [self._names[index] for index in sources]
        self._steps.append({"name": name, "op": op, "of": of, **arguments})
        self._names[operator.outputs[0]] = name
        return name

    def _pass_on(self, operator: TFLiteOperator) -> None:
        """The output is the input."""
        source, made = operator.inputs[0], operator.outputs[0]
        if source in self._constants:
            self._constants[made] = self._constants[source]
        else:
            assert self._model.shapes[source] == self._model.shapes[made]
            self._names[made] = self._names[source]

    def _convert_pad(self, operator: TFLiteOperator) -> None:
        """Padding is left to the step that reads it."""
        self._pads[operator.outputs[0]] = (operator.inputs[0], self._constants[operator.inputs[1]])

    def _convert_mul(self, operator: TFLiteOperator) -> None:
        """So is a factor."""
        self._scales[operator.outputs[0]] = (operator.inputs[0], self._constants[operator.inputs[1]])

    def _convert_conv(self, operator: TFLiteOperator) -> None:
        options = operator.options
        is_depthwise = operator.name == "depthwise_conv"
        source, widths = self._pads.get(operator.inputs[0], (operator.inputs[0], np.zeros((4, 2), np.int64)))
        weight = self._constants[operator.inputs[1]]
        weight = weight.transpose((3, 0, 1, 2) if is_depthwise else (0, 3, 1, 2))
        out, _, *kernel = weight.shape
        stride = options["stride_x"]
        assert (options["dilation_x"], options["dilation_y"], options["stride_y"]) == (1, 1, stride)
        assert not widths[0].any() and not widths[3].any()
        pad = [int(width) for axis in (2, 1) for width in widths[axis]]
        if not options["valid"]:
            assert not any(pad)
            # The odd pixel goes to the right and to the bottom.
            for axis, size in enumerate(self._model.shapes[source][2:0:-1]):
                total = max((-(-size // stride) - 1) * stride + kernel[1 - axis] - size, 0)
                pad[2 * axis : 2 * axis + 2] = [total // 2, total - total // 2]
        channels = self._model.shapes[source][3]
        name = self._add_step(
            "conv",
            operator,
            [source],
            **{"in": channels, "out": out},
            kernel=kernel,
            stride=stride,
            pad=pad,
            groups=channels if is_depthwise else 1,
            activation=_ACTIVATIONS[options["activation"]],
        )
        self._state[f"{name}.conv.weight"] = weight
        self._state[f"{name}.conv.bias"] = self._constants[operator.inputs[2]]

    def _convert_add(self, operator: TFLiteOperator) -> None:
        first, second = operator.inputs
        if second in self._pads:
            first, second = second, first
        first, widths = self._pads.get(first, (first, np.zeros((4, 2), np.int64)))
        assert not widths[:3].any() and widths[3, 0] == 0
        channels = self._model.shapes[operator.outputs[0]][3]
        activation = _ACTIVATIONS[operator.options["activation"]]
        self._add_step(
            "sum", operator, [first, second], channels=channels, missing=int(widths[3, 1]), activation=activation
        )

    def _convert_activation(self, operator: TFLiteOperator) -> None:
        """Becomes part of the step before, whose own output nothing else may read."""
        source = operator.inputs[0]
        step = next(step for step in self._steps if step["name"] == self._names[source])
        kind = "sigmoid" if operator.name == "logistic" else operator.name
        assert self._uses[source] == 1 and not step["activation"]
        assert step["op"] in (("linear",) if kind == "sigmoid" else ("conv", "sum"))
        step["activation"] = kind
        if kind == "prelu":
            self._state[f"{step['name']}.activation.slope"] = self._constants[operator.inputs[1]].reshape(-1)
        self._names[operator.outputs[0]] = step["name"]

    def _convert_pool(self, operator: TFLiteOperator) -> None:
        options = operator.options
        assert all(options[name] == 2 for name in ("stride_x", "stride_y", "width", "height"))
        assert options["activation"] == 0
        assert all(size % 2 == 0 for size in self._model.shapes[operator.inputs[0]][1:3])
        self._add_step("halve", operator, [operator.inputs[0]])

    def _convert_reshape(self, operator: TFLiteOperator) -> None:
        source, made = self._model.shapes[operator.inputs[0]], self._model.shapes[operator.outputs[0]]
        if len(source) == 3 and made == (1, 1, 1, source[1] * source[2]):  # rows stay rows
            self._names[operator.outputs[0]] = self._names[operator.inputs[0]]
            return
        assert len(source) == 4 and len(made) == 3
        self._add_step("rows", operator, [operator.inputs[0]], columns=made[2])

    def _convert_resize(self, operator: TFLiteOperator) -> None:
        source, made = self._model.shapes[operator.inputs[0]], self._model.shapes[operator.outputs[0]]
        factor = made[1] // source[1]
        assert made[1:3] == (factor * source[1], factor * source[2])
        assert operator.options["half_pixels"] and not operator.options["align_corners"]
        self._add_step("resize", operator, [operator.inputs[0]], factor=factor)

    def _convert_depth_to_space(self, operator: TFLiteOperator) -> None:
        self._add_step("depth_to_space", operator, [operator.inputs[0]], block=operator.options["block"])

    def _convert_concatenation(self, operator: TFLiteOperator) -> None:
        assert operator.options["axis"] == 1 and operator.options["activation"] == 0
        self._add_step("join", operator, list(operator.inputs))

    def _convert_mean(self, operator: TFLiteOperator) -> None:
        assert self._constants[operator.inputs[1]].tolist() == [1, 2] and not operator.options["keep"]
        self._add_step("mean", operator, [operator.inputs[0]])

    def _convert_linear(self, operator: TFLiteOperator) -> None:
        weight = self._constants[operator.inputs[1]]
        assert operator.options["activation"] == 0
        name = self._add_step(
            "linear", operator, [operator.inputs[0]], **{"in": weight.shape[1], "out": weight.shape[0]}, activation=""
        )
        self._state[f"{name}.linear.weight"] = weight
        self._state[f"{name}.linear.bias"] = self._constants[operator.inputs[2]]

    def _convert_square(self, operator: TFLiteOperator) -> None:
        source, factor = self._scales[operator.inputs[0]]
        options = read_flexbuffer(operator.custom)
        assert options["target_rotation_radians"] == 0
        self._add_step(
            "fit_square",
            operator,
            [source],
            scale=float(factor[0]),
            left=options["left_rotation_idx"],
            right=options["right_rotation_idx"],
            around=options["subset_idxs"],
            size=[options["output_width"], options["output_height"]],
            margin=[options["scale_x"], options["scale_y"]],
        )

    def _convert_crop(self, operator: TFLiteOperator) -> None:
        _, height, width, _ = self._model.shapes[operator.outputs[0]]
        _, area_height, area_width, _ = self._model.shapes[operator.inputs[0]]
        self._add_step(
            "crop_features", operator, list(operator.inputs), size=[width, height], area=[area_width, area_height]
        )

    def _convert_place(self, operator: TFLiteOperator) -> None:
        points, square = operator.inputs
        source, factors = self._scales[square]
        assert (_read_factors(factors, 0) == 1).all() and len(set(_read_factors(factors, 3))) == 1
        self._add_step("place_points", operator, [points, source], scale=float(_read_factors(factors, 3)[0]))


def _read_factors(factors: AnyArray, column: int) -> Vector:
    """The factors of the first two rows of a matrix (1, 4, 4)."""
    return np.asarray(factors.reshape(4, 4)[:2, column], np.float64)


_HANDLERS: Mapping[str, Callable[[_Converter, TFLiteOperator], None]] = {
    "dequantize": _Converter._pass_on,
    "densify": _Converter._pass_on,
    "strided_slice": _Converter._pass_on,
    "pad": _Converter._convert_pad,
    "mul": _Converter._convert_mul,
    "conv": _Converter._convert_conv,
    "depthwise_conv": _Converter._convert_conv,
    "add": _Converter._convert_add,
    "relu": _Converter._convert_activation,
    "prelu": _Converter._convert_activation,
    "logistic": _Converter._convert_activation,
    "max_pool": _Converter._convert_pool,
    "reshape": _Converter._convert_reshape,
    "resize_bilinear": _Converter._convert_resize,
    "depth_to_space": _Converter._convert_depth_to_space,
    "concatenation": _Converter._convert_concatenation,
    "mean": _Converter._convert_mean,
    "fully_connected": _Converter._convert_linear,
    "Landmarks2TransformMatrix": _Converter._convert_square,
    "TransformTensorBilinear": _Converter._convert_crop,
    "TransformLandmarks": _Converter._convert_place,
}
