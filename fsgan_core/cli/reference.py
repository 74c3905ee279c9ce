"""List the stage parameters for the terminal, for JSON, and as docs/parameters.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.param_fields import ParamField, Params, iterate_param_fields
from fsgan_core.contract.params import PARAMETER_ALIASES

if TYPE_CHECKING:
    from fsgan_core.clips.presets import Preset

__all__ = [
    "build_parameter_data",
    "build_parameter_page",
    "build_preset_data",
    "iterate_parameter_lines",
    "iterate_preset_lines",
]

PAGE_COMMAND = "fsgan params --markdown > docs/parameters.md"

PAGE_HEAD = f"""\
# Parameters

Made from `fsgan_core/contract/params/` by `{PAGE_COMMAND}`; do not edit.

Each is set on the command line by `--set stage.parameter=value`, in a shot file under `[stages.STAGE]`. Lists are
written with commas on the command line and as lists in a shot file. Pixels are of the plate; "of the face" is a share
of the face's width.

A parameter whose third column ends in "over time" may have another value in each frame:
`--set mask.feather=1001:0.05,1010:0.1`, in a shot file `feather = {{ 1001 = 0.05, 1010 = 0.1 }}`. Between two frames
the value changes evenly; before the first and after the last it stays. Other parameters hold for the whole clip.
"""


def build_parameter_data(stages: Mapping[str, type[Params]]) -> dict[str, Any]:
    """Build plain data for JSON: {stage: {parameter: {kind, default, ...}}}."""
    return {
        stage: {field.name: _describe_field(field) for field in iterate_param_fields(cls)}
        for stage, cls in stages.items()
    }


def iterate_parameter_lines(stages: Mapping[str, type[Params]]) -> Iterator[str]:
    """Yield the lines of a list for the terminal."""
    for stage, cls in stages.items():
        yield f"{stage}: {_get_summary(cls)}"
        for field in iterate_param_fields(cls):
            yield f"  {stage}.{field.name} = {_format_value(field.default)}   ({_describe_values(field)})"
            yield f"      {field.help}"
        yield ""


def build_preset_data(presets: Iterable[Preset], stage: str | None = None) -> dict[str, Any]:
    """Build plain data for JSON: {preset: {summary, path, settings}}, of one stage or of all."""
    return {
        preset.name: {
            "summary": preset.summary,
            "path": str(preset.path),
            "settings": _select_settings(preset, stage),
        }
        for preset in presets
    }


def iterate_preset_lines(presets: Iterable[Preset], stage: str | None = None) -> Iterator[str]:
    """Yield the lines of a list of presets for the terminal, with the values of one stage or of all."""
    for preset in presets:
        yield f"{preset.name}: {preset.summary or 'no summary'}"
        yield f"  {preset.path}"
        for name, value in _select_settings(preset, stage).items():
            yield f"  {name} = {_format_value(value)}"
        yield ""


def _select_settings(preset: Preset, stage: str | None) -> dict[str, Any]:
    return {name: value for name, value in preset.settings.items() if stage in (None, name.partition(".")[0])}


def build_parameter_page(stages: Mapping[str, type[Params]]) -> str:
    """Build the text of docs/parameters.md."""
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
        lines += [_format_row(stage, field) for field in iterate_param_fields(cls)]
        lines.append("")
    alias_lines = [
        f"`{name}` is another name of `{parameter}`."
        for name, parameter in PARAMETER_ALIASES.items()
        if parameter.partition(".")[0] in stages
    ]
    return "\n".join(lines + alias_lines) + "\n"


def _format_row(stage: str, field: ParamField) -> str:
    cells = (
        f"`{stage}.{field.name}`",
        _format_code(_format_value(field.default)),
        _escape_cell(_describe_values(field)),
        _escape_cell(field.help),
    )
    return f"| {' | '.join(cells)} |"


def _describe_field(field: ParamField) -> dict[str, Any]:
    description: dict[str, Any] = {
        "kind": field.kind,
        "default": field.default,
        "label": field.label,
        "help": field.help,
    }
    for name in ("unit", "minimum", "maximum", "soft_maximum"):
        value = getattr(field, name)
        if value not in (None, ""):
            description[name] = value
    if field.multiple:
        description["multiple"] = field.multiple
    if field.choices:
        description["choices"] = list(field.choices)
    if field.when:
        description["when"] = {field.when[0]: list(field.when[1:])}
    if field.optional:
        description["optional"] = True
    if field.is_animatable:
        description["animatable"] = True
    return description


def _get_summary(cls: type[Params]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _describe_values(field: ParamField) -> str:
    """Describe the valid values: "0 to 1", "auto, warp", ..."""
    if field.choices:
        return ", ".join(field.choices)
    description = {
        "float": "number",
        "int": "whole number",
        "bool": "true, false",
        "text": "text",
        "floats": "x,y",
        "texts": "list of texts",
    }[field.kind]
    if field.minimum is not None and field.maximum is not None:
        description += f", {field.minimum:g} to {field.maximum:g}"
    elif field.minimum is not None:
        description += f", at least {field.minimum:g}"
    if field.multiple:
        description += f", a multiple of {field.multiple}"
    if field.unit:
        description += f" ({field.unit})"
    description += "; may be empty" if field.optional else ""
    return description + ("; over time" if field.is_animatable else "")


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
