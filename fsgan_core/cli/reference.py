"""The parameters of the stages as lists and pages, made from the contract's declarations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fsgan_core.contract.param_fields import Knob, Params, knobs_of
from fsgan_core.contract.params import ALIASES

__all__ = ["parameter_data", "parameter_lines", "parameter_page"]

COMMAND = "fsgan params --markdown > docs/parameters.md"

HEAD = f"""\
# Parameters

Made from `fsgan_core/contract/params.py` by `{COMMAND}`; do not edit.

Each is set on the command line by `--set stage.parameter=value`, in a shot file under `[stages.STAGE]`. Lists are
written with commas on the command line and as lists in a shot file. Pixels are of the plate; "of the face" is a share
of the face's width.
"""


def parameter_data(stages: Mapping[str, type[Params]]) -> dict[str, Any]:
    """{stage: {parameter: {kind, default, ...}}} for JSON."""
    return {stage: {knob.name: _facts(knob) for knob in knobs_of(cls)} for stage, cls in stages.items()}


def parameter_lines(stages: Mapping[str, type[Params]]) -> Iterator[str]:
    """A list for the terminal."""
    for stage, cls in stages.items():
        yield f"{stage}: {_summary(cls)}"
        for knob in knobs_of(cls):
            yield f"  {stage}.{knob.name} = {_value(knob.default)}   ({_takes(knob)})"
            yield f"      {knob.help}"
        yield ""


def parameter_page(stages: Mapping[str, type[Params]]) -> str:
    """docs/parameters.md."""
    lines = [HEAD]
    for stage, cls in stages.items():
        lines += [f"## {stage}", "", _summary(cls), "", "| parameter | default | takes | what it does |",
                  "| --- | --- | --- | --- |"]
        lines += [_row(stage, knob) for knob in knobs_of(cls)]
        lines.append("")
    other = [f"`{name}` is another name of `{meant}`." for name, meant in ALIASES.items()
             if meant.partition(".")[0] in stages]
    return "\n".join(lines + other) + "\n"


def _row(stage: str, knob: Knob) -> str:
    return f"| `{stage}.{knob.name}` | {_code(_value(knob.default))} | {_cell(_takes(knob))} | {_cell(knob.help)} |"


def _facts(knob: Knob) -> dict[str, Any]:
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


def _summary(cls: type[Params]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _takes(knob: Knob) -> str:
    """What may be written: "0 to 1", "auto, warp", ..."""
    if knob.choices:
        return ", ".join(knob.choices)
    words = {"float": "number", "int": "whole number", "bool": "true, false", "text": "text", "floats": "x,y",
             "texts": "list of texts"}[knob.kind]
    if knob.minimum is not None and knob.maximum is not None:
        words += f", {knob.minimum:g} to {knob.maximum:g}"
    elif knob.minimum is not None:
        words += f", at least {knob.minimum:g}"
    if knob.multiple:
        words += f", a multiple of {knob.multiple}"
    if knob.unit:
        words += f" ({knob.unit})"
    return words + ("; may be empty" if knob.optional else "")


def _value(value: Any) -> str:
    if value is None or value in ((), ""):
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _code(text: str) -> str:
    return text if text == "empty" else f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
