"""Reads a stage's parameters from the knobs of a node: one value, or a value for each frame if a knob is animated."""

from __future__ import annotations

from typing import Any, Sequence, Union

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke.knobs import read_stage_params

# Knobs with numbers, which may have a value for each view in a stereo script.
SPLIT_KNOB_CLASSES = ("Double_Knob", "Int_Knob", "Array_Knob")
SWITCH_KNOB_CLASSES = ("Boolean_Knob", "Enumeration_Knob")


def read_knobs(node: Any, stage: str, view: str, prefix: str = "", frames: Sequence[int] = ()) -> dict[str, Any]:
    """Reads the parameters of a stage from a node's knobs, in one view.

    Args:
        node: The node.
        stage: Name of the stage.
        view: The view.
        prefix: Starts the names of the knobs.
        frames: Where animated knobs are sampled; without frames, they have the value of the current frame.

    Returns:
        Name -> value, or {frame: value} if the value is not the same in all these frames.

    Raises:
        InputError: A knob is animated whose parameter holds for the whole clip.
    """

    def has_knob(name: str) -> bool:
        # A link leads to a node inside ours (mix): Nuke applies it, so the core must not apply it too.
        return name in node.knobs() and str(node[name].Class()) != "Link_Knob"

    try:
        return read_stage_params(stage, lambda name: _read_value(node[name], view, frames), has_knob, prefix)
    except InputError as error:
        raise InputError(f"{node.name()}: {error}") from None


def _read_value(knob: Any, view: str, frames: Sequence[int]) -> Any:
    values = [_read_numbers(knob, view, frame) for frame in frames] if _is_animated(knob, view) else []
    if any(value != values[0] for value in values):
        return _drop_middles(frames, values)
    if knob.Class() == "XY_Knob" or knob.Class() in SPLIT_KNOB_CLASSES:
        return _read_numbers(knob, view, nuke.frame() if not values else frames[0])
    return knob.value()


def _is_animated(knob: Any, view: str) -> bool:
    """Whether a knob has keys or an expression. To Nuke, an expression is part of an animation curve."""
    if knob.Class() == "XY_Knob":
        return any(knob.isAnimated(index, view) for index in (0, 1)) or bool(knob.hasExpression())
    if knob.Class() in SPLIT_KNOB_CLASSES:
        return bool(knob.isAnimated(0, view)) or bool(knob.hasExpression())
    return knob.Class() in SWITCH_KNOB_CLASSES and (bool(knob.isAnimated()) or bool(knob.hasExpression()))


def _read_numbers(knob: Any, view: str, frame: float) -> Union[float, tuple[float, ...]]:
    if knob.Class() == "XY_Knob":
        return tuple(float(knob.getValueAt(frame, index, view)) for index in (0, 1))
    if knob.Class() in SPLIT_KNOB_CLASSES:
        return float(knob.getValueAt(frame, 0, view))
    return float(knob.getValueAt(frame))


def _drop_middles(frames: Sequence[int], values: Sequence[Any]) -> dict[int, Any]:
    """The values by frame, without those between two equal ones.

    >>> _drop_middles([1, 2, 3, 4], [0.5, 0.5, 0.5, 1.0])
    {1: 0.5, 3: 0.5, 4: 1.0}
    """
    last = len(values) - 1
    return {
        frames[number]: value
        for number, value in enumerate(values)
        if number in (0, last) or not values[number - 1] == value == values[number + 1]
    }
