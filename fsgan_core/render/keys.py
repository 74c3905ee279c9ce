"""What a frame's key is made of, part by part, in short digests: so that a stale file can say what has changed.

Whether a file is right is decided by its key alone. The parts stand beside the key in the metadata, are compared only
where the keys differ, and need not tell everything: where no part differs, "something else" did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsgan_core.clips.inputs import get_holdout_frame
from fsgan_core.contract.param_fields import Params, iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS as PARAMETERS
from fsgan_core.contract.version import __version__
from fsgan_core.plates.plate import Window
from fsgan_core.render.frames import FILE_PARAMS, KEYED_CODE, FrameRenderer, compute_face_digest, select_proportions
from fsgan_core.runtime.cache import compute_code_digest, compute_digest

__all__ = ["compute_key_parts", "describe_parts", "find_changed_parts", "format_parts"]

PART_DIGITS = 6
PART_UNKNOWN = "unknown"
PART_OTHER = "other"

# What a stage's picture is made of.
STAGE_INPUTS: Mapping[str, tuple[str, ...]] = {
    "reenact": (),
    "mask": (),
    "inpaint": ("reenact", "mask"),
    "blend": ("inpaint", "mask"),
    "final": ("blend",),
}

# Parts that are no parameter, for a person.
PART_LABELS: Mapping[str, str] = {
    "program": "another version of fsgan",
    "colour": "colour space or OCIO config",
    "target": "the target's frames",
    "track": "the target's track",
    "exposure": "exposure of the target",
    "source": "the source's frames",
    "views": "choice of source views",
    "driver": "the driver's performance",
    "holdout": "the hold-out",
    "damaged": "the file is damaged",
    "input": "an input is missing",
    "analysis": "never analysed as it is now",
    PART_UNKNOWN: "not known",
    PART_OTHER: "something else",
}


def compute_key_parts(renderer: FrameRenderer, stage: str, frame: int) -> dict[str, str]:
    """Digest of each part of what a frame depends on. stage: "final", or the stage whose own files are meant.

    Parameters stand in it by name ("blend.mix") where they are not at their default. Raises PlateError (an input that
    is not there) and what the analysis raises.
    """
    inputs = renderer.inputs
    parts: dict[str, Any] = {
        "program": (__version__, compute_code_digest(KEYED_CODE)),
        "colour": (
            inputs.config.digest,
            inputs.target.space,
            inputs.working_space,
            inputs.output_space if stage == "final" else "",
        ),
        "target": inputs.target.sequence.compute_fingerprint(frame),
    }
    if stage == "final":
        parts |= _list_changed_params("output", inputs.stages.output, ("missing",))
    made = _list_made_stages(stage, renderer.upstream)
    if renderer.has_face(frame):
        read = {before for name in made for before in STAGE_INPUTS[name] if before in renderer.upstream}
        parts |= {f"files.{name}": renderer.upstream[name].sequence.compute_fingerprint(frame) for name in read}
        parts |= _collect_face_parts(renderer, made, frame)
    return {name: compute_digest(value)[:PART_DIGITS] for name, value in parts.items()}


def _list_made_stages(stage: str, upstream: Mapping[str, Any]) -> tuple[str, ...]:
    """What is made, not read from files, for this stage's picture; itself among it."""
    before = [name for name in STAGE_INPUTS[stage] if name not in upstream]
    return tuple(dict.fromkeys([stage, *(name for one in before for name in _list_made_stages(one, upstream))]))


def _collect_face_parts(renderer: FrameRenderer, stages: tuple[str, ...], frame: int) -> dict[str, Any]:
    inputs, scene = renderer.inputs, renderer.get_scene(frame)
    near = renderer.list_neighbours(frame) if "mask" in stages else [frame]
    parts: dict[str, Any] = {
        "target": [inputs.target.sequence.compute_fingerprint(one) for one in near],
        "track": [
            (compute_face_digest(scene.faces[one]), _get_window_values(renderer.get_region(one))) for one in near
        ],
        "exposure": scene.exposure,
    }
    if inputs.holdout is not None:
        item = inputs.holdout
        parts["holdout"] = (
            item.sequence.compute_fingerprint(get_holdout_frame(item, frame)),
            item.channel,
            item.clip.part,
        )
    for stage in stages:
        if stage == "final":
            continue
        engine = renderer.engines["drive" if scene.driven_frames and stage == "reenact" else stage]
        parts[f"{stage}.engine"] = engine.name
        if engine.get_weight_hashes():
            parts[f"{stage}.network"] = engine.get_weight_hashes()
        parts |= _list_changed_params(stage, getattr(inputs.stages, stage), ("engine", *FILE_PARAMS))
    if "reenact" in stages and frame in scene.frame_plans:
        plan = scene.frame_plans[frame]
        used = [chosen.view for chosen in plan.views]
        if "inpaint" in stages and inputs.stages.inpaint.other_views:
            used += plan.further_views
        sources = [scene.view_clips[view.clip] for view in used]
        parts["source"] = sorted(
            {
                source.clip_input.sequence.compute_fingerprint(view.frame)
                for source, view in zip(sources, used, strict=True)
            }
        )
        parts["views"] = [
            (
                view.clip,
                view.frame,
                source.exposure,
                source.clip_input.space,
                compute_face_digest(source.performer.faces[view.frame]),
            )
            for source, view in zip(sources, used, strict=True)
        ]
        parts["views"] += [[round(chosen.light, 6), round(chosen.detail, 6)] for chosen in plan.views]
        parts["views"] += [
            list(plan.flags),
            round(plan.inner_mouth, 6),
            *select_proportions(scene, inputs.stages.reenact),
        ]
    if frame in scene.driven_frames:
        parts |= _list_changed_params("drive", inputs.stages.drive, ())
        parts["driver"] = compute_face_digest(scene.driven_frames[frame].goal_face)
    return parts


def _list_changed_params(stage: str, values: Params, leave: tuple[str, ...]) -> dict[str, Any]:
    """What of a stage's parameters is not at its default."""
    default = PARAMETERS[stage]()
    return {
        f"{stage}.{knob.name}": value
        for knob in iterate_param_fields(PARAMETERS[stage])
        if knob.name not in leave and (value := getattr(values, knob.name)) != getattr(default, knob.name)
    }


def _get_window_values(region: Window) -> tuple[int, int, int, int]:
    return (region.x, region.y, region.width, region.height)


def format_parts(parts: Mapping[str, str]) -> str:
    """For the metadata: "blend.mix:3fa201 target:00ab12 ..."."""
    return " ".join(f"{name}:{short}" for name, short in sorted(parts.items()))


def find_changed_parts(text: str, parts: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the parts in which a file (its metadata's text) and what it should be differ; never empty."""
    before = dict(part.split(":", 1) for part in text.split() if ":" in part)
    if not before:
        return (PART_UNKNOWN,)
    names = sorted(name for name in {*before, *parts} if before.get(name) != parts.get(name))
    return tuple(names) or (PART_OTHER,)


def describe_parts(parts: tuple[str, ...]) -> str:
    """Changed parts for a person: "blend.mix, the target's track"."""
    said = []
    for part in parts:
        kind, _, name = part.partition(".")
        said.append(f"the files of {name}" if kind == "files" else PART_LABELS.get(part, part))
    return ", ".join(said)
