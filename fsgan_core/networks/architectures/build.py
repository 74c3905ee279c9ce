"""The architecture string of a checkpoint: parsed as a literal and looked up in a closed list. It is never run.

A published checkpoint describes its network as a constructor call, such as
`res_unet.MultiScaleResUNet(in_nc=101,out_nc=3,flat_layers=(2,2,2,2),ngf=128)`. It may have a longer module path in
front, or no brackets. The table below lists the allowed constructors with their argument names, types and bounds.
Anything else is a WeightsError, and so is a network much larger than any published one.

The generators of FSGAN's version 1 carry the same strings as those of version 2 but have another enhancer. Our strings
have one more argument for that, `version=1`. `identify_version` sets it by the tensors.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.errors import WeightsError
from fsgan_core.runtime.syntax import parse_syntax

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "CONSTRUCTORS",
    "GRAPH_NAMES",
    "MAX_PARAMETERS",
    "Architecture",
    "build_network",
    "format_published",
    "identify_version",
    "parse_architecture",
]

MAX_PARAMETERS = 400_000_000  # the largest published network, VGG-19 with its classifier, has 171 million
GRAPH_NAMES = ("face_mesh", "face_full_range", "face_short_range", "palm", "hand")  # graphs/NAME.json
_MAX_TEXT_LENGTH = 1000  # characters of an architecture string
_VERSION_1_ARGUMENT = ",version=1"
_VERSION_1_PREFIX = "enhancer1.down_block."  # of tensors that only generators of version 1 have


@dataclass(frozen=True)
class Architecture:
    """A parsed architecture string.

    Attributes:
        constructor: A key of CONSTRUCTORS, "module.Class".
        arguments: All arguments by name, with defaults filled in.
    """

    constructor: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        """Formats the shortest string that `parse_architecture` reads back to an equal Architecture."""
        given = CONSTRUCTORS[self.constructor].arguments
        parts = [
            f"{name}={_format_value(value)}" for name, value in self.arguments.items() if value != given[name].default
        ]
        return f"{self.constructor}({','.join(parts)})"

    @property
    def version(self) -> int:
        """The published version whose layout it has: 1 for generators of FSGAN v1, else 2."""
        return int(self.arguments.get("version", 2))


@dataclass(frozen=True)
class IntArgument:
    """A whole number within bounds, both included."""

    default: int
    low: int
    high: int

    def check_value(self, value: Any) -> Any:
        """Returns the value. Raises ValueError, which says what is allowed."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueError(f"a whole number from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class IntTupleArgument:
    """A tuple of whole numbers; its length and each member are within bounds."""

    default: tuple[int, ...]
    shortest: int
    longest: int
    low: int
    high: int

    def check_value(self, value: Any) -> Any:
        """Returns the value. Raises ValueError, which says what is allowed."""
        member = IntArgument(self.low, self.low, self.high)
        if not isinstance(value, tuple) or not self.shortest <= len(value) <= self.longest:
            raise ValueError(f"{self.shortest} to {self.longest} whole numbers in brackets")
        return tuple(member.check_value(item) for item in value)


@dataclass(frozen=True)
class ChoiceArgument:
    """One of a few values. The type counts too: True is not 1."""

    default: Any
    choices: tuple[Any, ...]

    def check_value(self, value: Any) -> Any:
        """Returns the value. Raises ValueError, which says what is allowed."""
        if not any(type(value) is type(choice) and value == choice for choice in self.choices):
            raise ValueError(" or ".join(map(repr, self.choices)))
        return value


@dataclass(frozen=True)
class ConstructorSpec:
    """An allowed constructor.

    Attributes:
        module: Module of our class or function.
        name: Its name in that module.
        arguments: The published arguments, with bounds and defaults.
        unused: Arguments that do not change the loaded network, such as how it was initialised. They are accepted and
            not passed on.
    """

    module: str
    name: str
    arguments: Mapping[str, IntArgument | IntTupleArgument | ChoiceArgument]
    unused: tuple[str, ...] = ()

    def load_factory(self) -> Callable[..., nn.Module]:
        """Imports the class or function that makes the network."""
        result: Callable[..., nn.Module] = getattr(importlib.import_module(self.module), self.name)
        return result


_PACKAGE = "fsgan_core.networks.architectures"
_CHANNEL_BOUNDS = {"low": 1, "high": 512}
_WIDTH_BOUNDS = {"low": 1, "high": 512}
_BOOLEANS = (True, False)


def _make_res_unet_arguments(
    out_nc: IntArgument | IntTupleArgument, shortest: int
) -> dict[str, IntArgument | IntTupleArgument | ChoiceArgument]:
    return {
        "in_nc": IntArgument(3, **_CHANNEL_BOUNDS),
        "out_nc": out_nc,
        "max_nc": IntArgument(1024, low=1, high=4096),
        "ngf": IntArgument(64, **_WIDTH_BOUNDS),
        "flat_layers": IntTupleArgument((0, 0, 0, 3), shortest=shortest, longest=8, low=0, high=16),
        "use_dropout": ChoiceArgument(False, (False,)),
    }


def _make_unet_arguments(
    classes: str, feature_scale: int
) -> dict[str, IntArgument | IntTupleArgument | ChoiceArgument]:
    return {
        classes: IntArgument(21, **_CHANNEL_BOUNDS),
        "in_channels": IntArgument(3, **_CHANNEL_BOUNDS),
        "feature_scale": IntArgument(feature_scale, low=1, high=64),
        "is_deconv": ChoiceArgument(False, (False,)),
        "is_batchnorm": ChoiceArgument(True, (True,)),
    }


_ENHANCER_ARGUMENTS = {"n_local_enhancers": ChoiceArgument(1, (1,)), "version": ChoiceArgument(2, (1, 2))}
_UNET_UNUSED = ("is_deconv", "is_batchnorm")
_RES_UNET_UNUSED = ("use_dropout",)
_PICTURE_CHANNELS = IntArgument(3, **_CHANNEL_BOUNDS)
_TWO_HEAD_CHANNELS = IntTupleArgument((3, 3), shortest=2, longest=2, low=1, high=512)

CONSTRUCTORS: Mapping[str, ConstructorSpec] = {
    "res_unet.MultiScaleResUNet": ConstructorSpec(
        f"{_PACKAGE}.res_unet",
        "MultiScaleResUNet",
        _make_res_unet_arguments(_PICTURE_CHANNELS, 2) | _ENHANCER_ARGUMENTS,
        (*_RES_UNET_UNUSED, "n_local_enhancers"),
    ),
    "res_unet.ResUNet": ConstructorSpec(
        f"{_PACKAGE}.res_unet", "ResUNet", _make_res_unet_arguments(_PICTURE_CHANNELS, 1), _RES_UNET_UNUSED
    ),
    "res_unet_split.MultiScaleResUNet": ConstructorSpec(
        f"{_PACKAGE}.res_unet",
        "SplitMultiScaleResUNet",
        _make_res_unet_arguments(_TWO_HEAD_CHANNELS, 2) | _ENHANCER_ARGUMENTS,
        (*_RES_UNET_UNUSED, "n_local_enhancers"),
    ),
    "simple_unet.UNet": ConstructorSpec(
        f"{_PACKAGE}.unet", "make_unet", _make_unet_arguments("n_classes", 4), _UNET_UNUSED
    ),
    "simple_unet_02.UNet": ConstructorSpec(
        f"{_PACKAGE}.unet", "UNet", _make_unet_arguments("num_classes", 1), _UNET_UNUSED
    ),
    # Ours, not published: the small reenactment network.
    "retouch.RetouchUNet": ConstructorSpec(
        f"{_PACKAGE}.retouch",
        "RetouchUNet",
        {
            "in_nc": IntArgument(71, low=4, high=512),
            "ngf": IntArgument(16, **_WIDTH_BOUNDS),
            "levels": IntArgument(4, low=1, high=7),
            "max_nc": IntArgument(128, low=1, high=4096),
        },
    ),
    # Converted from other formats: `weights.mediapipe`, `weights.dlib_reader`.
    "tensor_graph.TensorGraph": ConstructorSpec(
        f"{_PACKAGE}.tensor_graph", "TensorGraph", {"graph": ChoiceArgument("face_mesh", GRAPH_NAMES)}
    ),
    "dlib_resnet.FaceResNet": ConstructorSpec(f"{_PACKAGE}.dlib_resnet", "FaceResNet", {}),
    "hrnet.hrnet_wlfw": ConstructorSpec(f"{_PACKAGE}.hrnet", "HRNet", {}),
    "hopenet.Hopenet": ConstructorSpec(f"{_PACKAGE}.hopenet", "Hopenet", {}),
    "vgg.vgg19": ConstructorSpec(
        f"{_PACKAGE}.vgg",
        "VGG19",
        {
            "num_classes": IntArgument(1000, low=1, high=100_000),
            "batch_norm": ChoiceArgument(True, (True,)),
            "pretrained": ChoiceArgument(False, _BOOLEANS),
            "init_weights": ChoiceArgument(True, _BOOLEANS),
            "verification": ChoiceArgument(False, (False,)),
            "verifcation": ChoiceArgument(False, _BOOLEANS),  # the published spelling; it has no effect there either
        },
        ("batch_norm", "pretrained", "init_weights", "verification", "verifcation"),
    ),
    # Ours, not published: only the convolutions, which a perceptual loss needs (20 of 171 million parameters).
    "vgg.vgg19_features": ConstructorSpec(f"{_PACKAGE}.vgg", "VGG19Features", {}),
    "discriminators_pix2pix.MultiscaleDiscriminator": ConstructorSpec(
        f"{_PACKAGE}.discriminator",
        "MultiscaleDiscriminator",
        {
            "input_nc": IntArgument(3, **_CHANNEL_BOUNDS),
            "ndf": IntArgument(64, **_WIDTH_BOUNDS),
            "n_layers": IntArgument(3, low=1, high=6),
            "use_sigmoid": ChoiceArgument(False, _BOOLEANS),
            "num_D": IntArgument(3, low=1, high=4),
            "getIntermFeat": ChoiceArgument(False, (False,)),
        },
        ("getIntermFeat",),
    ),
}


def parse_architecture(text: str) -> Architecture:
    """Parses the architecture string of a checkpoint, without running any of it.

    Args:
        text: A constructor call, such as "hopenet.Hopenet()" or "fsgan.models.simple_unet.UNet(n_classes=3)".

    Returns:
        The constructor and all its arguments.

    Raises:
        WeightsError: The text is not a plain constructor call, or the table has no such constructor or argument.

    >>> print(parse_architecture("fsgan.models.simple_unet.UNet(n_classes=3, feature_scale=1)"))
    simple_unet.UNet(n_classes=3,feature_scale=1)
    """
    if not isinstance(text, str) or len(text) > _MAX_TEXT_LENGTH:
        raise WeightsError(f"an architecture string must be text of at most {_MAX_TEXT_LENGTH} characters: refused")
    try:
        tree = parse_syntax(text.strip(), "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _make_refusal(text, "it is not a constructor call") from None
    assert isinstance(tree, ast.Expression)
    node: ast.expr = tree.body
    given: list[ast.keyword] = []
    if isinstance(node, ast.Call):
        if node.args:
            raise _make_refusal(text, "arguments need their names")
        given, node = node.keywords, node.func
    name = _read_dotted_name(node, text)
    constructor = CONSTRUCTORS.get(name)
    if constructor is None:
        raise _make_refusal(text, f"{name} is not known; known are {', '.join(CONSTRUCTORS)}")
    arguments = {key: allowed.default for key, allowed in constructor.arguments.items()}
    if len({keyword.arg for keyword in given}) < len(given):
        raise _make_refusal(text, "an argument is named twice")
    for keyword in given:
        allowed = constructor.arguments.get(keyword.arg or "")
        if allowed is None or keyword.arg is None:
            raise _make_refusal(text, f"{name} has no argument {keyword.arg or '**'}")
        try:
            arguments[keyword.arg] = allowed.check_value(_read_literal(keyword.value))
        except ValueError as error:
            raise _make_refusal(text, f"{keyword.arg} must be {error}") from None
    return Architecture(name, arguments)


def identify_version(arch: str, names: Iterable[str]) -> str:
    """Completes a published architecture string by what only the tensors tell: whether it is a generator of version 1.

    Args:
        arch: The string of a checkpoint.
        names: The names of the checkpoint's tensors.

    Returns:
        The string with `version=1` if the tensors have that layout, else the string as it is.

    Raises:
        WeightsError: The string is refused.

    >>> identify_version("res_unet.MultiScaleResUNet(in_nc=4)", ["enhancer1.down_block.model.1.weight"])
    'res_unet.MultiScaleResUNet(in_nc=4,version=1)'
    """
    if not any(name.startswith(_VERSION_1_PREFIX) for name in names):
        return arch
    parsed = parse_architecture(arch)
    if "version" not in parsed.arguments or parsed.version == 1:
        return arch
    if arch.endswith(")") and not arch.endswith("()"):
        return f"{arch[:-1]}{_VERSION_1_ARGUMENT})"
    return str(replace(parsed, arguments={**parsed.arguments, "version": 1}))


def format_published(arch: str) -> str:
    """Formats an architecture string for a checkpoint that other programs read: without our argument `version`.

    >>> format_published("res_unet.MultiScaleResUNet(in_nc=4,version=1)")
    'res_unet.MultiScaleResUNet(in_nc=4)'
    """
    return arch.replace(_VERSION_1_ARGUMENT, "").replace(_VERSION_1_ARGUMENT[1:], "")


def build_network(arch: str | Architecture, device: str = "cpu") -> nn.Module:
    """Builds a network from its architecture string, randomly initialised and in training mode.

    Args:
        arch: The architecture, or its string.
        device: Where the parameters are made. "meta" allocates no storage; use it before
            `load_state_dict(state, strict=True, assign=True)`.

    Raises:
        WeightsError: The string is refused, or the network would have more than MAX_PARAMETERS parameters.
    """
    import torch

    parsed = parse_architecture(arch) if isinstance(arch, str) else arch
    constructor = CONSTRUCTORS[parsed.constructor]
    arguments = {name: value for name, value in parsed.arguments.items() if name not in constructor.unused}
    factory = constructor.load_factory()
    with torch.device("meta"):
        network = factory(**arguments)
    count = sum(parameter.numel() for parameter in network.parameters())
    if count > MAX_PARAMETERS:
        limit = MAX_PARAMETERS // 1_000_000
        raise _make_refusal(str(parsed), f"{count // 1_000_000} million parameters, more than the {limit} allowed")
    if device == "meta":
        return network
    with torch.device(device):
        return factory(**arguments)


def _read_dotted_name(node: ast.expr, text: str) -> str:
    """Reads the last two names of a dotted path."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise _make_refusal(text, "it is not a constructor call")
    names.append(node.id)
    return ".".join(reversed(names[:2]))


def _read_literal(node: ast.expr) -> Any:
    """Reads a constant, or a tuple or list of constants as a tuple. Raises ValueError."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.Tuple, ast.List)) and all(isinstance(item, ast.Constant) for item in node.elts):
        return tuple(item.value for item in node.elts if isinstance(item, ast.Constant))
    raise ValueError("a plain value")


def _format_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({','.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _make_refusal(text: str, why: str) -> WeightsError:
    shown = text if len(text) <= 200 else text[:200] + "..."
    return WeightsError(f"architecture string {shown!r} refused: {why}")
