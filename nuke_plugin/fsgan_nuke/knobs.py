"""Turns the contract's parameters into Nuke knobs, and reads the knobs' values back.

This module does not import nuke: gizmos are generated from it, and nodes are read through functions of the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.param_fields import ParamField, iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS

# Nuke's knob type codes.
STRING, FILE, INT, ENUM, BOOL, DOUBLE, CHANNEL, XY, BBOX = 1, 2, 3, 4, 6, 7, 11, 12, 15
UV = 30  # two numbers without a handle in the viewer
TAB, BUTTON, TEXT, LINK, MULTILINE = 20, 22, 26, 41, 43

SWITCH_SUFFIX = "_on"  # ends the name of the switch beside an optional parameter; off means unset


@dataclass(frozen=True)
class NukeKnob:
    """One knob of a node.

    Attributes:
        name: Name of the knob.
        code: Nuke's type code.
        label: Label in the panel.
        tooltip: What it does.
        value: Default as .nk text, "" for the default of the type.
        text: Script of a button, content of a text, or target of a link.
        items: Items of a menu.
        low: Lower end of the slider.
        high: Upper end of the slider.
        group: 1 starts a group of knobs, -1 ends it.
        flags: Flags of addUserKnob.
    """

    name: str
    code: int
    label: str = ""
    tooltip: str = ""
    value: str = ""
    text: str = ""
    items: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    group: int = 0
    flags: tuple[str, ...] = ()


def make_stage_knobs(
    stage: str, prefix: str = "", only: Sequence[str] = (), exclude: Sequence[str] = (), group: str | None = None
) -> list[NukeKnob]:
    """Makes the knobs of a stage's parameters, in the order of their declaration.

    Args:
        stage: Name of the stage.
        prefix: Starts the names of the knobs.
        only: Only these parameters; all if empty.
        exclude: Not these parameters.
        group: Only parameters of this group; "" for those without a group, None for all.
    """
    param_fields = [
        param_field
        for param_field in iterate_param_fields(STAGE_PARAMS[stage])
        if (not only or param_field.name in only) and group in (None, param_field.group)
    ]
    return [
        nuke_knob
        for param_field in param_fields
        if param_field.name not in exclude
        for nuke_knob in _make_knobs(param_field, prefix)
    ]


def read_stage_params(
    stage: str, get_value: Callable[[str], Any], has_knob: Callable[[str], bool], prefix: str = ""
) -> dict[str, Any]:
    """Reads the parameters of a stage from the knobs of a node. Parameters without a knob are left out.

    Args:
        stage: Name of the stage.
        get_value: Returns the value of a knob by its name; a pair of numbers for XY; {frame: value} for one that
            changes over time.
        has_knob: Whether the node has a knob of this name.
        prefix: Starts the names of the knobs.

    Raises:
        InputError: A knob changes over time whose parameter may not.
    """
    values: dict[str, Any] = {}
    for knob in iterate_param_fields(STAGE_PARAMS[stage]):
        name = prefix + knob.name
        if not has_knob(name):
            continue
        if knob.optional and knob.when and not _is_active(knob, get_value, prefix):
            continue
        if knob.optional and not knob.when and not get_value(name + SWITCH_SUFFIX):
            continue
        value = get_value(name)
        if isinstance(value, Mapping):
            values[knob.name] = _convert_curve(knob, value)
        else:
            values[knob.name] = _convert_value(knob, value)
    return values


def find_active_knobs(
    stage: str, get_value: Callable[[str], Any], has_knob: Callable[[str], bool], prefix: str = ""
) -> dict[str, bool]:
    """Finds the knobs that only have an effect with certain values of another knob.

    Returns:
        Name of each such knob -> whether it has an effect now.
    """
    return {
        prefix + knob.name: _is_active(knob, get_value, prefix)
        for knob in iterate_param_fields(STAGE_PARAMS[stage])
        if knob.when and has_knob(prefix + knob.name) and has_knob(prefix + knob.when[0])
    }


def _is_active(knob: ParamField, get_value: Callable[[str], Any], prefix: str) -> bool:
    return get_value(prefix + knob.when[0]) in knob.when[1:]


def _make_knobs(param_field: ParamField, prefix: str) -> list[NukeKnob]:
    name = prefix + param_field.name
    label = f"{param_field.label} ({param_field.unit})" if param_field.unit else param_field.label
    main_knob = NukeKnob(
        name,
        FILE if param_field.is_file else _KNOB_CODES[param_field.kind],
        label,
        param_field.help,
        _format_default(param_field),
        items=param_field.choices,
        low=_get_slider_low(param_field),
        high=_get_slider_high(param_field),
    )
    if param_field.kind == "bool":
        return [_change_knob(main_knob, flags=("+STARTLINE",))]
    if not param_field.optional or param_field.when:
        return [main_knob]
    switch = NukeKnob(
        name + SWITCH_SUFFIX,
        BOOL,
        "set",
        f"Off: {param_field.label} is chosen automatically.",
        "false",
        flags=("-STARTLINE",),
    )
    return [main_knob, switch]


_KNOB_CODES = {"float": DOUBLE, "int": INT, "bool": BOOL, "choice": ENUM, "text": STRING, "texts": STRING, "floats": XY}


def _change_knob(knob: NukeKnob, **changes: Any) -> NukeKnob:
    return NukeKnob(**{**knob.__dict__, **changes})


def _format_default(knob: ParamField) -> str:
    if knob.default is None or knob.default in ("", ()):
        return ""
    if knob.kind == "bool":
        return "true" if knob.default else "false"
    return f"{knob.default:g}" if knob.kind in ("float", "int") else str(knob.default)


def _get_slider_low(knob: ParamField) -> float | None:
    return knob.minimum if knob.kind in ("float", "int") else None


def _get_slider_high(knob: ParamField) -> float | None:
    if knob.kind not in ("float", "int"):
        return None
    return knob.maximum if knob.soft_maximum is None else knob.soft_maximum


def _convert_curve(knob: ParamField, values: Mapping[int, Any]) -> dict[str, Any]:
    if not knob.is_animatable:
        raise InputError(
            f"'{knob.label}' is animated, but it holds for the whole clip; delete its keys or its expression, or mix "
            "two nodes with different values"
        )
    return {str(frame): _convert_value(knob, value) for frame, value in values.items()}


def _convert_value(knob: ParamField, value: Any) -> Any:
    if knob.kind == "texts":
        return [part.strip() for part in str(value).split(",") if part.strip()]
    if knob.kind == "bool":
        return bool(value)
    if knob.kind == "int":
        return round(value)
    if knob.kind == "floats":
        return [float(part) for part in value]
    return value
