"""The tables of a report: what was rendered, what was set, which weights ran, colour, machine, versions, times."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from fsgan_core.clips.inputs import JobInputs
from fsgan_core.clips.presets import describe_preset
from fsgan_core.contract import layers
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.contract.version import __version__
from fsgan_core.networks.weights.catalogue import load_catalogue
from fsgan_core.plates.sequence import format_frames
from fsgan_core.report.data import Fact
from fsgan_core.runtime.events import FAILED, KEPT, PASSED, RENDERED, RenderResult

__all__ = ["list_settings", "list_summary", "list_surroundings", "list_times", "list_weights"]

NO_SOURCE = "none"
"""Path of the source in the request of a node that does not name it (`render.requests`)."""
_STATE_NAMES = {
    RENDERED: "rendered",
    KEPT: "kept from an earlier render",
    PASSED: "without a face, passed through",
    FAILED: "failed",
}
_PACKAGES = ("torch", "numpy", "opencv-python", "OpenImageIO", "opencolorio", "av")


def list_summary(
    result: RenderResult, shot: Shot, frame_metadata: Iterable[Mapping[str, Any]] = ()
) -> tuple[Fact, ...]:
    """Lists source, target, result and the counts of frames.

    Args:
        result: The render.
        shot: Its shot; that of a single node may not name the source.
        frame_metadata: Metadata of the frames, which name the source too.
    """
    numbers = [report.frame for report in result.frames]
    sources = [clip.path for clip in shot.source if clip.path != NO_SOURCE]
    if not sources:
        names = (str(one.get(layers.META_SOURCE, "")).split(", ") for one in frame_metadata)
        sources = list(dict.fromkeys(name for some in names for name in some if name))
    facts = [
        Fact("source" if shot.job == "swap" else "driver", ", ".join(sources) or "not known here"),
        Fact("target", shot.target.path),
        Fact("result", result.output),
        Fact("frames", f"{format_frames(numbers)} ({len(numbers)})"),
    ]
    facts += [
        Fact(name, str(len(result.list_frames(state))))
        for state, name in _STATE_NAMES.items()
        if result.list_frames(state)
    ]
    if result.skipped:
        facts.append(Fact("skipped, no file", f"{format_frames(result.skipped)} ({len(result.skipped)})"))
    return tuple(facts)


def list_settings(shot: Shot) -> tuple[Fact, ...]:
    """Lists the parameters and clip options that differ from their defaults."""
    facts = [Fact("preset", describe_preset(shot.stages))] if shot.stages.preset else []
    for stage, values in shot.to_dict().get("stages", {}).items():
        if isinstance(values, dict):
            facts += [Fact(f"{stage}.{name}", _format_value(value)) for name, value in values.items()]
    clips = [("target", shot.target), *((f"source {number}", clip) for number, clip in enumerate(shot.source, start=1))]
    for name, clip in clips:
        facts += _list_clip_options(name, clip)
    if shot.holdout is not None:
        facts.append(Fact("hold-out", shot.holdout.path))
    return tuple(facts)


def _list_clip_options(name: str, clip: Clip) -> list[Fact]:
    options = ("colorspace", "track", "part", "person", "view")
    return [Fact(f"{name}, {option}", value) for option in options if (value := getattr(clip, option))]


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def list_weights(frame_metadata: Iterable[Mapping[str, Any]]) -> tuple[Fact, ...]:
    """Lists the weights that the frames name in their metadata, each with its licence class.

    Args:
        frame_metadata: Metadata of the frames that were read.
    """
    seen: dict[str, str] = {}
    classes: dict[str, None] = {}
    for one in frame_metadata:
        classes |= dict.fromkeys(part for part in str(one.get(layers.META_LICENCE, "")).split(", ") if part)
        for entry in str(one.get(layers.META_WEIGHTS, "")).split(", "):
            name, _, digest = entry.partition(":")
            if name and name != "none":
                seen.setdefault(name, digest)
    licences = {name: info.licence for name, info in load_catalogue().items()}
    facts = [
        Fact(name, f"{licences.get(name) or 'not in the catalogue'}; SHA-256 {digest}...")
        for name, digest in sorted(seen.items())
    ]
    return (*facts, Fact("licence classes of all", ", ".join(classes) or "none: no network drew pixels"))


def list_surroundings(result: RenderResult, inputs: JobInputs | None) -> tuple[Fact, ...]:
    """Lists colour spaces, machine and versions."""
    facts = []
    if inputs is not None:
        facts.append(Fact("OCIO config", inputs.config.name))
        facts += [Fact(f"colour space of {source.name}", source.space) for source in inputs.sources]
        facts.append(Fact(f"colour space of {inputs.target.name}", inputs.target.space))
        facts.append(Fact("working space", inputs.working_space))
    facts += [
        Fact("colour space of the result", result.colorspace),
        Fact("shown as", "sRGB, without exposure or a look"),
        Fact("report made on", f"{platform.node()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        Fact("device of the networks", result.device),
        Fact("fsgan", __version__),
        Fact("Python", platform.python_version()),
    ]
    return (*facts, *(Fact(name, version) for name in _PACKAGES if (version := _find_version(name))))


def _find_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def list_times(result: RenderResult, further: Mapping[str, float]) -> tuple[Fact, ...]:
    """Lists seconds by stage, in all and per rendered frame.

    Args:
        result: The render.
        further: Further times, such as the report's own.
    """
    spent = dict(result.seconds)
    total = spent.pop("total", None)
    # `fsgan report` renders nothing: there, frames with times are those of the last render.
    count = len(result.list_frames(RENDERED)) or sum(bool(report.seconds) for report in result.frames) or 1
    facts = [Fact(stage, f"{value:.2f} s, {value / count:.3f} s per frame") for stage, value in spent.items()]
    if total is not None:
        facts.append(Fact("render, total", f"{total:.2f} s, {total / count:.3f} s per frame"))
    return (*facts, *(Fact(name, f"{value:.2f} s") for name, value in further.items()))
