"""The contract's parameters as Nuke knobs: names, types, ranges, texts; and their values, read back.

Nothing here imports nuke: gizmos are generated from it, nodes are read through two functions that the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fsgan_core.contract.param_fields import ParamField, iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS

# Knob type codes of the host, by what they are.
STRING, FILE, INT, ENUM, BOOL, DOUBLE, XY = 1, 2, 3, 4, 6, 7, 12
UV = 30  # two numbers without a handle in the viewer
TAB, BUTTON, TEXT, LINK, MULTILINE = 20, 22, 26, 41, 43

SWITCH_SUFFIX = "_on"  # a switch beside a parameter that may be unset: off is unset


@dataclass(frozen=True)
class NukeKnob:
    """One knob of a node. code: the host's type. value: its default as .nk text, "" for the type's own. text: a
    button's script, a text's content, a link's target. low, high: ends of a slider. group: 1 begins a group of knobs,
    -1 ends it. flags: as in addUserKnob."""

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
    stage: str, prefix: str = "", only: Sequence[str] = (), without: Sequence[str] = (), group: str | None = None
) -> list[NukeKnob]:
    """Knobs of a stage's parameters in the order of their declaration. only: these parameters; without: not these;
    group: those of a group, "" for those of none, None for all."""
    declared = [
        knob
        for knob in iterate_param_fields(STAGE_PARAMS[stage])
        if (not only or knob.name in only) and group in (None, knob.group)
    ]
    return [made for knob in declared if knob.name not in without for made in _make_knobs(knob, prefix)]


def read_stage_params(
    stage: str, value_of: Callable[[str], Any], has: Callable[[str], bool], prefix: str = ""
) -> dict[str, Any]:
    """Parameters of a stage as plain data, from the knobs that the node has; the others keep their defaults.

    value_of: name -> value of a knob (a pair of numbers for XY). has: whether the node has a knob.
    """
    values: dict[str, Any] = {}
    for knob in iterate_param_fields(STAGE_PARAMS[stage]):
        name = prefix + knob.name
        if not has(name):
            continue
        if knob.optional and knob.when and not _is_active(knob, value_of, prefix):
            continue
        if knob.optional and not knob.when and not value_of(name + SWITCH_SUFFIX):
            continue
        values[knob.name] = _convert_value(knob, value_of(name))
    return values


def find_active_knobs(
    stage: str, value_of: Callable[[str], Any], has: Callable[[str], bool], prefix: str = ""
) -> dict[str, bool]:
    """Name of a knob -> whether its value counts, for those that count with some values of another one alone."""
    return {
        prefix + knob.name: _is_active(knob, value_of, prefix)
        for knob in iterate_param_fields(STAGE_PARAMS[stage])
        if knob.when and has(prefix + knob.name) and has(prefix + knob.when[0])
    }


def _is_active(knob: ParamField, value_of: Callable[[str], Any], prefix: str) -> bool:
    return value_of(prefix + knob.when[0]) in knob.when[1:]


def _make_knobs(knob: ParamField, prefix: str) -> list[NukeKnob]:
    name = prefix + knob.name
    label = f"{knob.label} ({knob.unit})" if knob.unit else knob.label
    made = NukeKnob(
        name,
        _KNOB_CODES[knob.kind],
        label,
        knob.help,
        _format_default(knob),
        items=knob.choices,
        low=_get_slider_low(knob),
        high=_get_slider_high(knob),
    )
    if knob.kind == "bool":
        return [_change_knob(made, flags=("+STARTLINE",))]
    if not knob.optional or knob.when:
        return [made]
    switch = NukeKnob(
        name + SWITCH_SUFFIX, BOOL, "set", f"Off: {knob.label} is found by itself.", "false", flags=("-STARTLINE",)
    )
    return [made, switch]


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
