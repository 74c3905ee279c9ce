"""How a stage parameter is declared: a dataclass field with its label, range and help.

The command line, the Nuke knobs, job templates and reference pages read `knobs_of(cls)`;
nothing about a parameter is written anywhere else.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Iterator, Mapping, TypeVar

from fsgan_core.contract.errors import ParameterError

_METADATA_KEY = "knob"
T = TypeVar("T", bound="Params")


@dataclass(frozen=True)
class ParamField:
    """One declared parameter.

    kind: "float" | "int" | "bool" | "choice" | "text" | "floats" (a fixed count of numbers) |
    "texts" (a list of strings). minimum and maximum are hard limits, inclusive; `soft_maximum`
    is where a slider ends. `unit` is shown beside the value. multiple: a whole number must be one of this; 0 is
    any. group: knobs of one group stand together in a panel; those of "network" count for the fsgan engine alone.
    when: another parameter of the stage, and the values of it with which this one counts; empty is always.
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
    optional: bool = False
    multiple: int = 0
    group: str = ""
    when: tuple[str, ...] = ()


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
) -> Any:
    """A float; `default=None` makes it optional."""
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
) -> Any:
    """An int; `default=None` makes it optional."""
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
    )


def declare_switch(default: bool, label: str, help: str, *, group: str = "") -> Any:
    return _declare_field("bool", default, label, help, group=group)


def declare_choice(
    default: str, choices: tuple[str, ...], label: str, help: str, *, group: str = "", when: tuple[str, ...] = ()
) -> Any:
    return _declare_field("choice", default, label, help, choices=choices, group=group, when=when)


def declare_text(default: str, label: str, help: str, *, group: str = "", when: tuple[str, ...] = ()) -> Any:
    return _declare_field("text", default, label, help, group=group, when=when)


def declare_text_list(label: str, help: str, *, group: str = "", when: tuple[str, ...] = ()) -> Any:
    return _declare_field("texts", (), label, help, group=group, when=when)


def declare_point(label: str, help: str, *, unit: str = "", when: tuple[str, ...] = ()) -> Any:
    """Two floats or None."""
    return _declare_field("floats", None, label, help, unit=unit, optional=True, when=when)


def _declare_field(kind: str, default: Any, label: str, help: str, **rest: Any) -> Any:
    return field(
        default=default, metadata={_METADATA_KEY: dict(kind=kind, default=default, label=label, help=help, **rest)}
    )


class Params:
    """Base of a stage's parameters: frozen, checked when made, read from and written to plain dicts."""

    def __post_init__(self) -> None:
        for knob in iterate_param_fields(type(self)):
            object.__setattr__(self, knob.name, _validate_value(type(self), knob, getattr(self, knob.name)))

    @classmethod
    def from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
        """Raises ParameterError for an unknown name (with near matches) or a bad value."""
        names = [knob.name for knob in iterate_param_fields(cls)]
        for name in values:
            if name not in names:
                near = get_close_matches(name, names, n=3)
                hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}"
                raise ParameterError(f"{get_stage_name(cls)} has no parameter '{name}'; {hint}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, unset optional ones left out."""
        values = {knob.name: getattr(self, knob.name) for knob in iterate_param_fields(type(self))}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }

    def replace(self: T, **changes: Any) -> T:
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def iterate_param_fields(cls: type[Params]) -> Iterator[ParamField]:
    """Declarations of `cls` in the order they are written."""
    for declared in dataclasses.fields(cls):  # type: ignore[arg-type]
        yield ParamField(name=declared.name, **declared.metadata[_METADATA_KEY])


def get_stage_name(cls: type[Params]) -> str:
    return cls.__name__.removesuffix("Params").lower() if hasattr(str, "removesuffix") else cls.__name__.lower()


def parse_param_value(cls: type[Params], name: str, value: str) -> Any:
    """The value of parameter `name` from what a person typed. Raises ParameterError."""
    for knob in iterate_param_fields(cls):
        if knob.name == name:
            return _validate_value(cls, knob, _convert_text(cls, knob, value))
    return cls.from_dict({name: value})  # raises, with near matches


def _convert_text(cls: type[Params], knob: ParamField, value: str) -> Any:
    if knob.optional and value.lower() in ("", "none"):
        return None
    try:
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
    return ParameterError(f"{get_stage_name(cls)}.{knob.name} = {value!r} is not possible: it takes {wanted}")
