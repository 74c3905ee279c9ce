"""The parameters of the stages as lists and pages, made from the contract's declarations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fsgan_core.contract.param_fields import ParamField, Params, iterate_param_fields
from fsgan_core.contract.params import PARAMETER_ALIASES

__all__ = ["build_parameter_data", "build_parameter_page", "iterate_parameter_lines"]

PAGE_COMMAND = "fsgan params --markdown > docs/parameters.md"

PAGE_HEAD = f"""\
# Parameters

Made from `fsgan_core/contract/params.py` by `{PAGE_COMMAND}`; do not edit.

Each is set on the command line by `--set stage.parameter=value`, in a shot file under `[stages.STAGE]`. Lists are
written with commas on the command line and as lists in a shot file. Pixels are of the plate; "of the face" is a share
of the face's width.
"""


def build_parameter_data(stages: Mapping[str, type[Params]]) -> dict[str, Any]:
    """{stage: {parameter: {kind, default, ...}}} for JSON."""
    return {
        stage: {knob.name: _describe_field(knob) for knob in iterate_param_fields(cls)} for stage, cls in stages.items()
    }


def iterate_parameter_lines(stages: Mapping[str, type[Params]]) -> Iterator[str]:
    """A list for the terminal."""
    for stage, cls in stages.items():
        yield f"{stage}: {_get_summary(cls)}"
        for knob in iterate_param_fields(cls):
            yield f"  {stage}.{knob.name} = {_format_value(knob.default)}   ({_describe_values(knob)})"
            yield f"      {knob.help}"
        yield ""


def build_parameter_page(stages: Mapping[str, type[Params]]) -> str:
    """docs/parameters.md."""
    lines = [PAGE_HEAD]
    for stage, cls in stages.items():
        lines += [
            f"## {stage}",
            "",
            _get_summary(cls),
            "",
            "| parameter | default | takes | what it does |",
            "| --- | --- | --- | --- |",
        ]
        lines += [_format_row(stage, knob) for knob in iterate_param_fields(cls)]
        lines.append("")
    other = [
        f"`{name}` is another name of `{meant}`."
        for name, meant in PARAMETER_ALIASES.items()
        if meant.partition(".")[0] in stages
    ]
    return "\n".join(lines + other) + "\n"


def _format_row(stage: str, knob: ParamField) -> str:
    return f"| `{stage}.{knob.name}` | {_format_code(_format_value(knob.default))} | {_escape_cell(_describe_values(knob))} | {_escape_cell(knob.help)} |"


def _describe_field(knob: ParamField) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": knob.kind, "default": knob.default, "label": knob.label, "help": knob.help}
    for name in ("unit", "minimum", "maximum", "soft_maximum"):
        value = getattr(knob, name)
        if value not in (None, ""):
            facts[name] = value
    if knob.multiple:
        facts["multiple"] = knob.multiple
    if knob.choices:
        facts["choices"] = list(knob.choices)
    if knob.when:
        facts["when"] = {knob.when[0]: list(knob.when[1:])}
    if knob.optional:
        facts["optional"] = True
    return facts


def _get_summary(cls: type[Params]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _describe_values(knob: ParamField) -> str:
    """What may be written: "0 to 1", "auto, warp", ..."""
    if knob.choices:
        return ", ".join(knob.choices)
    words = {
        "float": "number",
        "int": "whole number",
        "bool": "true, false",
        "text": "text",
        "floats": "x,y",
        "texts": "list of texts",
    }[knob.kind]
    if knob.minimum is not None and knob.maximum is not None:
        words += f", {knob.minimum:g} to {knob.maximum:g}"
    elif knob.minimum is not None:
        words += f", at least {knob.minimum:g}"
    if knob.multiple:
        words += f", a multiple of {knob.multiple}"
    if knob.unit:
        words += f" ({knob.unit})"
    return words + ("; may be empty" if knob.optional else "")


def _format_value(value: Any) -> str:
    if value is None or value in ((), ""):
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _format_code(text: str) -> str:
    return text if text == "empty" else f"`{text}`"


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|")
