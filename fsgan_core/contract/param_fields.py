"""Declares a stage parameter: a dataclass field with its label, range and help.

The command line, the Nuke knobs, job templates and docs/parameters.md read `iterate_param_fields(cls)`. Nothing about a
parameter is written anywhere else.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property
from typing import Any, Iterator, Mapping, TypeVar

from fsgan_core.contract.curve import Curve
from fsgan_core.contract.errors import ParameterError
from fsgan_core.contract.safe_text import shorten_repr

_METADATA_KEY = "knob"
T = TypeVar("T", bound="Params")


@dataclass(frozen=True)
class ParamField:
    """One declared parameter.

    Attributes:
        name: Name in the shot file.
        kind: "float", "int", "bool", "choice", "text", "floats" (two numbers) or "texts" (a list of texts).
        default: Default value.
        label: Name on a panel.
        help: What the parameter does.
        unit: Shown beside the value.
        minimum: Hard limit, inclusive.
        maximum: Hard limit, inclusive.
        soft_maximum: End of the slider.
        choices: Possible values of a choice.
        removed: Values that a choice had in earlier versions, each with what to do now.
        optional: Whether None is allowed.
        multiple: A whole number must be a multiple of this; 0 allows all.
        group: Parameters of one group stand together on a panel. Only the fsgan engine reads the group "network".
        when: Another parameter of the stage, then its values with which this parameter is used; empty is always.
        is_file: Whether a text is the path of a file.
        is_animatable: Whether a number may change over time, as a Curve. What spans the clip may not.
    """

    name: str
    kind: str
    default: Any
    label: str
    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    soft_maximum: float | None = None
    choices: tuple[str, ...] = ()
    removed: Mapping[str, str] | None = None
    optional: bool = False
    multiple: int = 0
    group: str = ""
    when: tuple[str, ...] = ()
    is_file: bool = False
    is_animatable: bool = False


def declare_number(
    default: float | None,
    label: str,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    soft_maximum: float | None = None,
    unit: str = "",
    group: str = "",
    when: tuple[str, ...] = (),
    is_animatable: bool = False,
) -> Any:
    """Declares a float; `default=None` makes it optional. Arguments are those of ParamField."""
    return _declare_field(
        "float",
        default,
        label,
        help,
        minimum=minimum,
        maximum=maximum,
        soft_maximum=soft_maximum,
        unit=unit,
        optional=default is None,
        group=group,
        when=when,
        is_animatable=is_animatable,
    )


def declare_integer(
    default: int | None,
    label: str,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    soft_maximum: float | None = None,
    unit: str = "",
    multiple: int = 0,
    group: str = "",
    when: tuple[str, ...] = (),
    is_animatable: bool = False,
) -> Any:
    """Declares an int; `default=None` makes it optional. Arguments are those of ParamField."""
    return _declare_field(
        "int",
        default,
        label,
        help,
        minimum=minimum,
        maximum=maximum,
        soft_maximum=soft_maximum,
        unit=unit,
        optional=default is None,
        multiple=multiple,
        group=group,
        when=when,
        is_animatable=is_animatable,
    )


def declare_switch(default: bool, label: str, help: str, *, group: str = "") -> Any:
    """Declares a bool."""
    return _declare_field("bool", default, label, help, group=group)


def declare_choice(
    default: str,
    choices: tuple[str, ...],
    label: str,
    help: str,
    *,
    removed: Mapping[str, str] | None = None,
    group: str = "",
    when: tuple[str, ...] = (),
) -> Any:
    """Declares one of several texts."""
    return _declare_field("choice", default, label, help, choices=choices, removed=removed, group=group, when=when)


def declare_text(default: str, label: str, help: str, *, group: str = "", when: tuple[str, ...] = ()) -> Any:
    """Declares a text."""
    return _declare_field("text", default, label, help, group=group, when=when)


def declare_file(label: str, help: str, *, group: str = "", when: tuple[str, ...] = ()) -> Any:
    """Declares the path of a file, empty by default."""
    return _declare_field("text", "", label, help, group=group, when=when, is_file=True)


def declare_text_list(label: str, help: str, *, group: str = "", when: tuple[str, ...] = ()) -> Any:
    """Declares a list of texts, empty by default."""
    return _declare_field("texts", (), label, help, group=group, when=when)


def declare_point(label: str, help: str, *, unit: str = "", when: tuple[str, ...] = ()) -> Any:
    """Declares a point, x and y, None by default."""
    return _declare_field("floats", None, label, help, unit=unit, optional=True, when=when)


def _declare_field(kind: str, default: Any, label: str, help: str, **rest: Any) -> Any:
    return field(
        default=default, metadata={_METADATA_KEY: dict(kind=kind, default=default, label=label, help=help, **rest)}
    )


class Params:
    """Base of a stage's parameters: frozen, validated when made, and converted from and to plain dicts.

    A parameter that is declared as animatable may hold a Curve instead of a number. `at_frame` resolves all of them;
    what renders a frame uses the parameters at that frame.
    """

    def __post_init__(self) -> None:
        for knob in iterate_param_fields(type(self)):
            object.__setattr__(self, knob.name, _validate_value(type(self), knob, getattr(self, knob.name)))

    @classmethod
    def from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
        """Makes the parameters from name -> value; missing names get their defaults.

        Raises:
            ParameterError: A name is unknown (the message has similar names) or a value is not allowed.
        """
        names = [knob.name for knob in iterate_param_fields(cls)]
        for name in values:
            if name not in names:
                near = get_close_matches(name, names, n=3)
                hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}"
                raise ParameterError(f"{get_stage_name(cls)} has no parameter '{name}'; {hint}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Converts to name -> plain value, without optional parameters that are None."""
        values = {knob.name: getattr(self, knob.name) for knob in iterate_param_fields(type(self))}
        return {name: _to_plain_value(value) for name, value in values.items() if value is not None}

    @cached_property
    def curves(self) -> Mapping[str, Curve]:
        """The parameters that change over time: name -> curve."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Curve)}

    def at_frame(self: T, frame: int) -> T:
        """Gives the parameters at a frame: a number in place of every curve."""
        if not self.curves:
            return self
        kinds = {knob.name: knob.kind for knob in iterate_param_fields(type(self))}
        values = {name: curve.get_value(frame) for name, curve in self.curves.items()}
        return self.replace(**{name: round(value) if kinds[name] == "int" else value for name, value in values.items()})

    def replace(self: T, **changes: Any) -> T:
        """Copies the parameters with changes. Raises ParameterError for a value that is not allowed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def iterate_param_fields(cls: type[Params]) -> Iterator[ParamField]:
    """Yields the declarations of a parameter class in their order."""
    yield from _list_param_fields(cls)  # type: ignore[arg-type]


@cache
def _list_param_fields(cls: type[Params]) -> tuple[ParamField, ...]:
    return tuple(
        ParamField(name=declared.name, **declared.metadata[_METADATA_KEY])
        for declared in dataclasses.fields(cls)  # type: ignore[arg-type]
    )


def get_stage_name(cls: type[Params]) -> str:
    """Gives the stage of a parameter class: "blend" for BlendParams."""
    return cls.__name__.removesuffix("Params").lower()


def parse_param_value(cls: type[Params], name: str, value: str) -> Any:
    """Converts what a person typed to a parameter's value.

    Args:
        cls: Parameter class of the stage.
        name: Name of the parameter.
        value: The text. Numbers of a point and items of a list are separated by commas; a value that changes over time
            is written FRAME:VALUE,FRAME:VALUE.

    Raises:
        ParameterError: The name is unknown or the value is not allowed.
    """
    for knob in iterate_param_fields(cls):
        if knob.name == name:
            return _validate_value(cls, knob, _convert_text(cls, knob, value))
    return cls.from_dict({name: value})  # raises, with near matches


def _convert_text(cls: type[Params], knob: ParamField, value: str) -> Any:
    if knob.optional and value.lower() in ("", "none"):
        return None
    try:
        if knob.kind in ("float", "int") and ":" in value:
            return Curve.from_text(value)
        if knob.kind == "float":
            return float(value)
        if knob.kind == "int":
            return int(value)
        if knob.kind == "bool":
            return {
                "true": True,
                "on": True,
                "yes": True,
                "1": True,
                "false": False,
                "off": False,
                "no": False,
                "0": False,
            }[value.lower()]
        if knob.kind == "floats":
            return tuple(float(part) for part in value.split(","))
    except (ValueError, KeyError):
        raise _build_value_error(cls, knob, value) from None
    if knob.kind == "texts":
        return tuple(part for part in value.split(",") if part)
    return value


def _validate_value(cls: type[Params], knob: ParamField, value: Any) -> Any:
    if value is None:
        if knob.optional:
            return None
        raise _build_value_error(cls, knob, value)
    if isinstance(value, (Curve, Mapping)):
        return _validate_curve(cls, knob, value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    is_list = isinstance(value, (list, tuple))
    fits = {
        "float": is_number,
        "int": is_number and value == int(value),
        "bool": isinstance(value, bool),
        "choice": value in knob.choices,
        "text": isinstance(value, str),
        "texts": is_list and all(isinstance(item, (str, int)) for item in value),
        "floats": is_list and len(value) == 2 and all(isinstance(item, (int, float)) for item in value),
    }
    if not fits[knob.kind]:
        raise _build_value_error(cls, knob, value)
    if knob.kind == "texts":
        return tuple(str(item) for item in value)
    if knob.kind == "floats":
        return tuple(float(item) for item in value)
    if knob.kind not in ("float", "int"):
        return value
    value = float(value) if knob.kind == "float" else int(value)
    low = -math.inf if knob.minimum is None else knob.minimum
    high = math.inf if knob.maximum is None else knob.maximum
    if not low <= value <= high or (knob.multiple and value % knob.multiple):
        raise _build_value_error(cls, knob, value)
    return value


def _validate_curve(cls: type[Params], knob: ParamField, table: Curve | Mapping[Any, Any]) -> Any:
    """Validates a curve's values. A curve that does not change becomes a number, so that both give the same frames."""
    if knob.kind not in ("float", "int"):
        raise _build_value_error(cls, knob, table)
    if not knob.is_animatable:
        raise ParameterError(
            f"{get_stage_name(cls)}.{knob.name} holds for the whole clip and cannot change over time; give it one value"
        )
    try:
        curve = table if isinstance(table, Curve) else Curve.from_dict(table)
    except ValueError as error:
        raise ParameterError(f"{get_stage_name(cls)}.{knob.name}: {error}; write it as FRAME = VALUE") from None
    samples = tuple((frame, _validate_number(cls, knob, value)) for frame, value in curve.samples)
    values = {value for _, value in samples}
    return values.pop() if len(values) == 1 else Curve(samples)


def _validate_number(cls: type[Params], knob: ParamField, value: Any) -> Any:
    if value is None or isinstance(value, (Curve, Mapping)):
        raise _build_value_error(cls, knob, value)
    return _validate_value(cls, knob, value)


def _to_plain_value(value: Any) -> Any:
    if isinstance(value, Curve):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def _build_value_error(cls: type[Params], knob: ParamField, value: Any) -> ParameterError:
    if knob.choices:
        wanted = "one of " + ", ".join(knob.choices)
    else:
        wanted = {
            "float": "a number",
            "int": "a whole number",
            "bool": "true or false",
            "text": "text",
            "texts": "a list of texts",
            "floats": "two numbers, x,y",
        }[knob.kind]
        if knob.minimum is not None:
            wanted += f", at least {knob.minimum:g}"
        if knob.maximum is not None:
            wanted += f", at most {knob.maximum:g}"
        if knob.multiple:
            wanted += f", a multiple of {knob.multiple}"
    near = get_close_matches(value, knob.choices, n=1) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]}?" if near else ""
    if knob.removed and isinstance(value, str) and value in knob.removed:
        hint = f"; {knob.removed[value]}"
    return ParameterError(
        f"{get_stage_name(cls)}.{knob.name} = {shorten_repr(value)} is not allowed; it must be {wanted}{hint}"
    )
