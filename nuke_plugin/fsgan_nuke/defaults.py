"""reset tab: sets the knobs of a stage back to their defaults."""

from __future__ import annotations

from typing import Any

from fsgan_core.contract.param_fields import ParamField, iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_nuke import graph, presets_menu
from fsgan_nuke.host import one_undo_step
from fsgan_nuke.knobs import SWITCH_SUFFIX

NEUTRAL_VALUES = {"float": 0.0, "int": 0, "text": "", "texts": "", "floats": [0.0, 0.0]}  # of an unset parameter


def reset_stage(node: Any, stage: str) -> None:
    """Sets the knobs of a stage to their defaults and deletes their keys, as one undo step.

    On a node with one stage, the preset stands in the same tab and is reset too.
    """
    stages = graph.list_node_stages(node)
    prefix = dict(stages)[stage]
    with one_undo_step(f"FSGAN: reset {stage}"):
        for param_field in iterate_param_fields(STAGE_PARAMS[stage]):
            name = prefix + param_field.name
            if name in node.knobs():
                _reset_knob(graph.resolve_link(node[name]), _get_default(param_field))
            if name + SWITCH_SUFFIX in node.knobs():
                _reset_knob(graph.resolve_link(node[name + SWITCH_SUFFIX]), False)
        if prefix == "" and presets_menu.PRESET_KNOB in node.knobs():
            _reset_knob(node[presets_menu.PRESET_KNOB], "")
            _reset_knob(node[presets_menu.PRESET_MENU], presets_menu.NO_PRESET)


def _get_default(param_field: ParamField) -> Any:
    if param_field.default in (None, ()):
        return NEUTRAL_VALUES[param_field.kind]
    return param_field.default


def _reset_knob(knob: Any, value: Any) -> None:
    if knob.isAnimated() or knob.hasExpression():
        knob.clearAnimated()
    if isinstance(value, list) or knob.value() != value:
        knob.setValue(value)
