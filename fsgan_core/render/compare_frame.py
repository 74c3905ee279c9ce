"""Compares a finished frame of a shot with what it must be without rendering it: its statements, and the target's part.

A checksum only shows that a file is as somebody wrote it. Whoever changes a frame can write a new checksum. What such a
frame says of itself is compared with the shot here, and everything outside the face with the target, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.contract import layers
from fsgan_core.plates.exr_attributes import OIIO_ATTRIBUTES, PART_NAME, pack_metadata
from fsgan_core.plates.exr_writer import LOSSLESS_COMPRESSIONS, PartRef, choose_formats, to_half
from fsgan_core.plates.image_reader import list_other_parts, read_frame_metadata, read_image
from fsgan_core.plates.plate import Plate, compute_slices
from fsgan_core.render.final import EXTRA_CHANNELS, to_output_space
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plate_faults import add_plate_faults
from fsgan_core.render.provenance import collect_provenance
from fsgan_core.runtime.arrays import AnyArray

__all__ = ["find_changed_content", "find_false_statement"]

# What a frame states that follows from the shot alone. Flags and key have been checked, or differ with the machine.
_STATEMENTS = (
    layers.META_SYNTHETIC,
    layers.META_ENGINE,
    layers.META_WEIGHTS,
    layers.META_LICENCE,
    layers.META_SOURCE,
    layers.META_LEADING_VIEW,
    layers.META_DRIVER,
    layers.META_PRESET,
    layers.META_CONSENT,
    layers.META_COLORSPACE,
    layers.META_FLAGS,
    layers.META_HELD,
    layers.META_BAD_PIXELS,
    layers.META_FACE,
)
_WRITTEN_BY_LIBRARY = (*OIIO_ATTRIBUTES, PART_NAME)


def find_false_statement(job: RenderJob, frame: int, path: Path) -> str:
    """Compares what a finished frame says of itself with what the shot makes it say.

    Args:
        job: The whole shot.
        frame: The frame.
        path: Its file.

    Returns:
        What is false; empty if nothing is.

    Raises:
        PlateError: The file or the target cannot be read.
    """
    statements = _make_statements(job, job.plan.resolve_held_frame(frame))
    expected, stated = add_plate_faults(job.plan, job.renderer, frame, statements), read_frame_metadata(path)
    for name in _STATEMENTS:
        if stated.get(name) != expected.get(name):
            return f"{name} is {_quote(stated.get(name))}; by the shot it must be {_quote(expected.get(name))}"
    return ""


def _make_statements(job: RenderJob, frame: int) -> Mapping[str, Any]:
    """Makes the metadata that the finished frame gets, without its pictures."""
    context, target = job.context, job.renderer.get_target(frame).original.metadata
    space = {layers.META_COLORSPACE: job.plan.inputs.output_space}
    if not context.has_face(frame):
        mark = {layers.META_SYNTHETIC: target.get(layers.META_SYNTHETIC, 0)}
        return {**target, **mark, layers.META_FLAGS: ", ".join(context.list_flags(frame)), **space}
    reenacted, mattes = (collect_provenance(context, stage, frame) for stage in ("reenact", "mask"))
    completed = collect_provenance(context, "inpaint", frame, (reenacted, mattes))
    earlier = {layers.META_SOURCE: target.get(layers.META_SOURCE, "")}
    return {**target, **collect_provenance(context, "blend", frame, (earlier, completed, mattes)), **space}


def _quote(value: Any) -> str:
    return "absent" if value is None else repr(value)


def find_changed_content(job: RenderJob, frame: int, path: Path) -> str:
    """Compares a finished frame with the target where the shot changes nothing, bit for bit.

    That is everything outside the region around the face; with `output.layers=all`, also where matte.soft is 0 inside
    it. Pixels are left out if the compression has losses.

    Args:
        job: The whole shot.
        frame: The frame.
        path: Its file.

    Returns:
        What is different; empty if nothing is.

    Raises:
        PlateError: The file or the target cannot be read.
    """
    source, stages = job.plan.resolve_held_frame(frame), job.plan.inputs.stages
    original, part = job.renderer.get_target(source), job.plan.inputs.target.sequence.clip.part
    target, result = to_output_space(job.plan.inputs, original, original.plate), read_image(path, part)
    has_layers = stages.output.layers == "all"
    if result.data_window != target.data_window or result.display_window != target.display_window:
        return "its windows are not the target's"
    ours = EXTRA_CHANNELS if has_layers else ()
    kept = [name for name in target.channels if name not in ours]
    formats = dict(zip(target.channels, choose_formats(target, stages.output.depth), strict=True))
    found = _compare_channels(result, kept, formats, ours) or _compare_metadata(target.metadata, result.metadata)
    if found or stages.output.compression not in LOSSLESS_COMPRESSIONS:
        return found
    may_change = np.zeros(result.pixels.shape[:2], bool)
    if job.context.has_face(source):
        region = job.context.get_region(source).intersect(result.data_window)
        may_change[compute_slices(region, result.data_window)] = True
        if has_layers:
            may_change &= result.get_matte(layers.MATTE_SOFT) > 0
    others = job.plan.inputs.target.sequence.list_other_parts(source)
    return _compare_pixels(target, result, kept, formats, may_change) or _compare_other_parts(others, path, part)


def _compare_channels(result: Plate, kept: list[str], formats: Mapping[str, str], ours: tuple[str, ...]) -> str:
    found = dict(zip(result.channels, result.formats, strict=True))
    for name in kept:
        if name not in found:
            return f"it lacks the target's channel {name}"
        if found[name] != formats[name]:
            return f"its channel {name} is {found[name]}; by the shot it must be {formats[name]}"
    further = [name for name in result.channels if name not in kept and name not in ours]
    return f"it has a channel {further[0]}, which the target has not" if further else ""


def _compare_metadata(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Compares the metadata that are not ours, as they are stored."""
    old, new = (
        {
            name: value
            for name, value in pack_metadata(metadata).items()
            if not name.startswith(layers.META_PREFIX) and name not in _WRITTEN_BY_LIBRARY
        }
        for metadata in (before, after)
    )
    different = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return f"its metadata entry {different[0]} is not the target's" if different else ""


def _compare_pixels(
    target: Plate, result: Plate, kept: list[str], formats: Mapping[str, str], may_change: AnyArray
) -> str:
    for name in kept:
        if name in target.integers:
            differs = target.integers[name] != result.integers[name]
        else:
            before, after = target.get_matte(name), result.get_matte(name)
            before = to_half(before).astype(np.float32) if formats[name] == "half" else before
            differs = np.ascontiguousarray(before).view(np.uint32) != np.ascontiguousarray(after).view(np.uint32)
        changed = differs & ~may_change
        if changed.any():
            row, column = np.argwhere(changed)[0]
            place = f"x {column + result.data_window.x}, y {row + result.data_window.y}"
            count = int(changed.sum())
            if count == 1:
                return f"1 pixel of {name} outside the face is not the target's, at {place}"
            return f"{count} pixels of {name} outside the face are not the target's, the first at {place}"
    return ""


def _compare_other_parts(others: tuple[PartRef, ...], path: Path, own_part: str) -> str:
    """Compares the parts that a render copies from the target's file."""
    found = list_other_parts(path, own_part)
    if [(part.index, part.name) for part in found] != [(part.index, part.name) for part in others]:
        return "its parts are not the target's"
    for part in others:
        number = str(part.index)
        name = part.name or number
        before, after = read_image(part.path, name), read_image(path, name)
        if before.channels != after.channels or before.data_window != after.data_window:
            return f"its part {name} is not the target's"
        if not np.array_equal(before.pixels.view(np.uint32), after.pixels.view(np.uint32)):
            return f"pixels of its part {name} are not the target's"
    return ""
