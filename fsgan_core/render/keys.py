"""What a frame's key is made of, part by part, in short digests: so that a stale file can say what has changed.

Whether a file is right is decided by its key alone. The parts stand beside the key in the metadata, are compared only
where the keys differ, and need not tell everything: where no part differs, "something else" did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsgan_core.clips.inputs import holdout_frame
from fsgan_core.contract.param_fields import Params, knobs_of
from fsgan_core.contract.params import STAGES as PARAMETERS
from fsgan_core.contract.version import __version__
from fsgan_core.plates.plate import Window
from fsgan_core.render.frames import CODE, NAMED_FILES, FrameMaker, face_digest, proportions
from fsgan_core.runtime.cache import code_digest, digest

__all__ = ["changed_parts", "key_parts", "parts_text", "words_of"]

DIGITS = 6
UNKNOWN = "unknown"
OTHER = "other"

# What a stage's picture is made of.
BEFORE: Mapping[str, tuple[str, ...]] = {
    "reenact": (), "mask": (), "inpaint": ("reenact", "mask"), "blend": ("inpaint", "mask"), "final": ("blend",),
}

# Parts that are no parameter, for a person.
WORDS: Mapping[str, str] = {
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
    UNKNOWN: "not known",
    OTHER: "something else",
}


def key_parts(maker: FrameMaker, stage: str, frame: int) -> dict[str, str]:
    """Digest of each part of what a frame depends on. stage: "final", or the stage whose own files are meant.

    Parameters stand in it by name ("blend.mix") where they are not at their default. Raises PlateError (an input that
    is not there) and what the analysis raises.
    """
    inputs = maker.inputs
    parts: dict[str, Any] = {
        "program": (__version__, code_digest(CODE)),
        "colour": (inputs.config.digest, inputs.target.space, inputs.working,
                   inputs.output_space if stage == "final" else ""),
        "target": inputs.target.sequence.fingerprint(frame),
    }
    if stage == "final":
        parts |= _parameters("output", inputs.stages.output, ("missing",))
    made = _made(stage, maker.upstream)
    if maker.has_face(frame):
        read = {before for name in made for before in BEFORE[name] if before in maker.upstream}
        parts |= {f"files.{name}": maker.upstream[name].sequence.fingerprint(frame) for name in read}
        parts |= _of_a_face(maker, made, frame)
    return {name: digest(value)[:DIGITS] for name, value in parts.items()}


def _made(stage: str, upstream: Mapping[str, Any]) -> tuple[str, ...]:
    """What is made, not read from files, for this stage's picture; itself among it."""
    before = [name for name in BEFORE[stage] if name not in upstream]
    return tuple(dict.fromkeys([stage, *(name for one in before for name in _made(one, upstream))]))


def _of_a_face(maker: FrameMaker, stages: tuple[str, ...], frame: int) -> dict[str, Any]:
    inputs, scene = maker.inputs, maker.scene_of(frame)
    near = maker.neighbours(frame) if "mask" in stages else [frame]
    parts: dict[str, Any] = {
        "target": [inputs.target.sequence.fingerprint(one) for one in near],
        "track": [(face_digest(scene.faces[one]), _corners(maker.region(one))) for one in near],
        "exposure": scene.exposure,
    }
    if inputs.holdout is not None:
        item = inputs.holdout
        parts["holdout"] = (item.sequence.fingerprint(holdout_frame(item, frame)), item.channel, item.clip.part)
    for stage in stages:
        if stage == "final":
            continue
        engine = maker.engines["drive" if scene.driven and stage == "reenact" else stage]
        parts[f"{stage}.engine"] = engine.name
        if engine.weights():
            parts[f"{stage}.network"] = engine.weights()
        parts |= _parameters(stage, getattr(inputs.stages, stage), ("engine", *NAMED_FILES))
    if "reenact" in stages and frame in scene.plan:
        plan = scene.plan[frame]
        used = [chosen.view for chosen in plan.views]
        if "inpaint" in stages and inputs.stages.inpaint.other_views:
            used += plan.others
        sources = [scene.views[view.clip] for view in used]
        parts["source"] = sorted({source.item.sequence.fingerprint(view.frame)
                                  for source, view in zip(sources, used, strict=True)})
        parts["views"] = [(view.clip, view.frame, source.exposure, source.item.space,
                           face_digest(source.actor.faces[view.frame]))
                          for source, view in zip(sources, used, strict=True)]
        parts["views"] += [[round(chosen.light, 6), round(chosen.detail, 6)] for chosen in plan.views]
        parts["views"] += [list(plan.flags), round(plan.inner_mouth, 6),
                           *proportions(scene, inputs.stages.reenact)]
    if frame in scene.driven:
        parts |= _parameters("drive", inputs.stages.drive, ())
        parts["driver"] = face_digest(scene.driven[frame].wanted)
    return parts


def _parameters(stage: str, values: Params, leave: tuple[str, ...]) -> dict[str, Any]:
    """What of a stage's parameters is not at its default."""
    default = PARAMETERS[stage]()
    return {f"{stage}.{knob.name}": value for knob in knobs_of(PARAMETERS[stage])
            if knob.name not in leave and (value := getattr(values, knob.name)) != getattr(default, knob.name)}


def _corners(region: Window) -> tuple[int, int, int, int]:
    return (region.x, region.y, region.width, region.height)


def parts_text(parts: Mapping[str, str]) -> str:
    """For the metadata: "blend.mix:3fa201 target:00ab12 ..."."""
    return " ".join(f"{name}:{short}" for name, short in sorted(parts.items()))


def changed_parts(text: str, parts: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the parts in which a file (its metadata's text) and what it should be differ; never empty."""
    before = dict(part.split(":", 1) for part in text.split() if ":" in part)
    if not before:
        return (UNKNOWN,)
    names = sorted(name for name in {*before, *parts} if before.get(name) != parts.get(name))
    return tuple(names) or (OTHER,)


def words_of(parts: tuple[str, ...]) -> str:
    """Changed parts for a person: "blend.mix, the target's track"."""
    said = []
    for part in parts:
        kind, _, name = part.partition(".")
        said.append(f"the files of {name}" if kind == "files" else WORDS.get(part, part))
    return ", ".join(said)
