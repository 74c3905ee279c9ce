"""The architecture string of a checkpoint, read as data: parsed as a literal, looked up in a closed list, never run.

A published checkpoint says what it is in the words of a constructor call,
`res_unet.MultiScaleResUNet(in_nc=101,out_nc=3,flat_layers=(2,2,2,2),ngf=128)`, maybe with a longer module path before
it, maybe without the brackets. Constructors, argument names, types and bounds are the table below; anything else is a
WeightsError, and so is a network that would be larger than any published one by far.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CONSTRUCTORS", "MAX_PARAMETERS", "Architecture", "build_network", "parse_architecture"]

MAX_PARAMETERS = 400_000_000  # the largest published one, VGG-19 with its classifier, has 171 million
_MAX_TEXT_LENGTH = 1000
_MAX_MODULES = 20_000


@dataclass(frozen=True)
class Architecture:
    """What `parse_arch` read. constructor: "module.Class"; arguments: every one, defaults filled in."""

    constructor: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        """The string in its shortest usual form: what `parse_arch` reads back to an equal Arch."""
        given = CONSTRUCTORS[self.constructor].arguments
        parts = [
            f"{name}={_format_value(value)}" for name, value in self.arguments.items() if value != given[name].default
        ]
        return f"{self.constructor}({','.join(parts)})"


@dataclass(frozen=True)
class IntArgument:
    """An int within bounds."""

    default: int
    low: int
    high: int

    def check_value(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueError(f"a whole number from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class IntTupleArgument:
    """A tuple of ints, its length and each member within bounds."""

    default: tuple[int, ...]
    shortest: int
    longest: int
    low: int
    high: int

    def check_value(self, value: Any) -> Any:
        member = IntArgument(self.low, self.low, self.high)
        if not isinstance(value, tuple) or not self.shortest <= len(value) <= self.longest:
            raise ValueError(f"{self.shortest} to {self.longest} whole numbers in brackets")
        return tuple(member.check_value(item) for item in value)


@dataclass(frozen=True)
class ChoiceArgument:
    """One of a few values, told apart by type too (True is not 1)."""

    default: Any
    choices: tuple[Any, ...]

    def check_value(self, value: Any) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in self.choices):
            raise ValueError(" or ".join(map(repr, self.choices)))
        return value


@dataclass(frozen=True)
class ConstructorSpec:
    """module and name: where our class is. arguments: as published, with their defaults. unused: what changes nothing
    in the network that is loaded (who initialised it, whether a training run started from somebody's weights)."""

    module: str
    name: str
    arguments: Mapping[str, IntArgument | IntTupleArgument | ChoiceArgument]
    unused: tuple[str, ...] = ()

    def load_factory(self) -> Callable[..., nn.Module]:
        return getattr(importlib.import_module(self.module), self.name)


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


_ENHANCER_ARGUMENTS = {"n_local_enhancers": ChoiceArgument(1, (1,))}
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
            "verifcation": ChoiceArgument(False, _BOOLEANS),  # the published spelling; it does nothing there either
        },
        ("batch_norm", "pretrained", "init_weights", "verification", "verifcation"),
    ),
    # Ours, not published: the convolutions alone, which are all that a perceptual loss needs (20 of 171 million).
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
    """The architecture that a checkpoint's string names; nothing of it is run.

    Raises WeightsError: not a plain constructor call, or one that is not in the table.
    """
    if not isinstance(text, str) or len(text) > _MAX_TEXT_LENGTH:
        raise WeightsError(f"an architecture string of more than {_MAX_TEXT_LENGTH} characters, or none: refused")
    try:
        node: ast.expr = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _make_refusal(text, "it is not a constructor call") from None
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


def build_network(arch: str | Architecture, device: str = "cpu") -> nn.Module:
    """The network of an architecture string, randomly initialised, in training mode.

    device "meta" makes no storage: for loading with `load_state_dict(state, strict=True, assign=True)`.
    Raises WeightsError: the string is refused, or the network would have more than MAX_PARAMETERS parameters.
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
    """The last two names of a dotted path."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise _make_refusal(text, "it is not a constructor call")
    names.append(node.id)
    return ".".join(reversed(names[:2]))


def _read_literal(node: ast.expr) -> Any:
    """A constant, or a tuple or list of constants as a tuple. Raises ValueError."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.Tuple, ast.List)) and all(isinstance(item, ast.Constant) for item in node.elts):
        return tuple(item.value for item in node.elts if isinstance(item, ast.Constant))
    raise ValueError("a plain value")


def _format_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({','.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return str(value)


def _make_refusal(text: str, why: str) -> WeightsError:
    shown = text if len(text) <= 200 else text[:200] + "..."
    return WeightsError(f"architecture string {shown!r} refused: {why}")
