"""What several stages depend on: colour, face, parameters, views, atlas, driver.

Each function lists dependencies as {name: value}; `staleness` joins them for each stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from fsgan_core.clips.inputs import get_holdout_frame
from fsgan_core.contract.param_fields import iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS, ReenactParams
from fsgan_core.contract.version import __version__
from fsgan_core.faces.face import Face
from fsgan_core.render.context import QUICK, RenderContext
from fsgan_core.render.scene import Scene, select_likeness, uses_iris_colour
from fsgan_core.render.source_glasses import list_glasses_dependencies
from fsgan_core.runtime.cache import compute_code_digest, compute_digest
from fsgan_core.runtime.memo import remember_with
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.drive import compute_drive_margin
from fsgan_core.stages.masking import MEASURING_PARAMS

Dependencies: TypeAlias = dict[str, Any]
"""Name -> value; plain data that `compute_digest` takes."""
WEIGHT_DIGITS = 6  # decimals of a view's weights; more would differ between machines
# Packages and files below fsgan_core that decide how a frame looks.
KEYED_CODE = (
    "faces",
    "plates",
    "stages",
    "networks",
    "clips/covered_views.py",
    "clips/inputs.py",
    "clips/picture_faults.py",
    "clips/tracks.py",
    "render/scene.py",
    "render/context.py",
    "render/frames.py",
    "render/source_clip.py",
    "render/source_faults.py",
    "render/source_glasses.py",
    "render/final.py",
)
# Parameters that name files. The contents of the files are part of the key, their paths are not.
FILE_PARAMS = ("network", "atlas")


def list_base_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what every file depends on, with or without a face."""
    inputs = context.inputs
    return {
        "program": (__version__, compute_code_digest(KEYED_CODE)),
        "colour": (
            inputs.target.space,
            inputs.working_space,
            inputs.config.compute_digest(inputs.target.space, inputs.working_space),
        ),
        "target": inputs.target.sequence.compute_fingerprint(frame),
        **list_param_dependencies(context, frame, "colour", only=("as_published",)),
        **({QUICK: True} if context.is_quick else {}),
    }


def list_common_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what every stage depends on: the base, the face and the region."""
    scene, stages = context.get_scene(frame), context.inputs.stages
    listed = {
        **list_base_dependencies(context, frame),
        "track": (compute_face_digest(scene.faces[frame]), scene.pixel_aspect),
        "exposure": scene.exposure,
    }
    margin = stages.reenact.margin
    if scene.driven_frames:
        least = compute_drive_margin(stages.drive)
        listed |= {"drive.pose": least, "reenact.margin": max(margin, least)}
    elif margin != ReenactParams().margin:
        listed["reenact.margin"] = margin
    return listed


def list_engine_dependencies(context: RenderContext, stage: str, frame: int) -> Dependencies:
    """Lists the engine of a stage, its weights, and its parameters that are not at their default."""
    engine = context.engines[stage]
    listed: Dependencies = {f"{stage}.engine": engine.name}
    if engine.installed_weights:
        listed[f"{stage}.network"] = engine.get_weight_hashes()
        listed |= list_param_dependencies(context, frame, "weights", only=("precision",))
    return listed | list_param_dependencies(context, frame, stage, leave=("engine", *FILE_PARAMS))


def list_param_dependencies(
    context: RenderContext, frame: int, stage: str, leave: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> Dependencies:
    """Lists the parameters of a stage in a frame that are not at their default."""
    values, default = getattr(context.get_stages(frame), stage), _make_default_params(stage)
    names = only or tuple(field.name for field in iterate_param_fields(STAGE_PARAMS[stage]) if field.name not in leave)
    return {f"{stage}.{name}": value for name in names if (value := getattr(values, name)) != getattr(default, name)}


@cache
def _make_default_params(stage: str) -> Any:
    return STAGE_PARAMS[stage]()


def list_neighbour_dependencies(context: RenderContext, frame: int, neighbours: Sequence[int]) -> Dependencies:
    """Lists the parameters with which a frame's neighbours are measured, where they differ from the frame's own."""
    own = context.get_stages(frame).mask
    others = {neighbour: context.get_stages(neighbour).mask for neighbour in neighbours}
    listed: Dependencies = {}
    for name in MEASURING_PARAMS:
        value = getattr(own, name)
        differing = [
            (neighbour - frame, getattr(other, name))
            for neighbour, other in others.items()
            if getattr(other, name) != value
        ]
        if differing:
            listed[f"mask.{name}"] = [value, differing]
    return listed


def list_holdout_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists the hold-out of a frame."""
    holdout = context.inputs.holdout
    if holdout is None:
        return {}
    return {
        "holdout": (
            holdout.sequence.compute_fingerprint(get_holdout_frame(holdout, frame)),
            holdout.channel,
            holdout.clip.part,
        )
    }


def list_view_dependencies(context: RenderContext, scene: Scene, views: Iterable[ViewRef]) -> Dependencies:
    """Lists the pictures of views, and the faces in them."""
    views = tuple(views)
    sources = [(scene.view_clips[view.clip], view) for view in views]
    return {
        "source": [
            (
                source.clip_input.name,
                source.clip_input.space,
                context.inputs.config.compute_digest(source.clip_input.space),
                source.clip_input.sequence.compute_fingerprint(view.frame),
            )
            for source, view in sources
        ],
        "source_track": [
            (source.exposure, compute_face_digest(source.performer.faces[view.frame])) for source, view in sources
        ],
        **_list_glasses_dependencies(context, scene, sorted({view.clip for view in views})),
    }


def get_view_name(scene: Scene, view: ViewRef) -> tuple[str, int]:
    """Names a view: clip and frame."""
    return (scene.view_clips[view.clip].clip_input.name, view.frame)


def round_weights(*weights: float) -> list[float]:
    """Rounds weights to the digits that are equal on all machines."""
    return [round(float(weight), WEIGHT_DIGITS) for weight in weights]


def list_likeness_dependencies(context: RenderContext, scene: Scene, frame: int) -> Dependencies:
    """Lists the source's proportions that a frame takes over."""
    likeness = select_likeness(scene, context.get_stages(frame).reenact)
    return {} if likeness is None else {"likeness": likeness}


def list_iris_dependencies(context: RenderContext, scene: Scene, frame: int) -> Dependencies:
    """Lists the frames in which the colours of irises are measured."""
    if not uses_iris_colour(context.get_stages(frame).reenact):
        return {}
    sources = [(scene.view_clips[view.clip], view.frame) for view in scene.iris_views]
    target = context.inputs.target  # its colour is that of every file
    return {
        "irises": [
            *(
                (
                    source.clip_input.sequence.compute_fingerprint(frame),
                    compute_face_digest(source.performer.faces[frame]),
                    context.inputs.config.compute_digest(source.clip_input.space),
                )
                for source, frame in sources
            ),
            *(
                (target.sequence.compute_fingerprint(frame), compute_face_digest(scene.measured_faces[frame]))
                for frame in scene.open_eyed_frames
            ),
        ]
    }


def _list_glasses_dependencies(context: RenderContext, scene: Scene, clips: Sequence[int]) -> Dependencies:
    """Lists the frames in which glasses of the sources are looked for, which are taken off."""
    if context.inputs.stages.reenact.keep_source_glasses or scene.driven_frames:
        return {}
    return {"source_glasses": [list_glasses_dependencies(scene.view_clips[clip]) for clip in clips]}


def list_target_glasses_dependencies(context: RenderContext, scene: Scene) -> Dependencies:
    """Lists the frames in which the target's glasses are looked for, if these are kept."""
    if not context.inputs.stages.mask.keep_glasses or scene.driven_frames:
        return {}
    sequence, frames = context.inputs.target.sequence, scene.open_eyed_frames
    return {
        "glasses": [
            (sequence.compute_fingerprint(frame), compute_face_digest(scene.measured_faces[frame])) for frame in frames
        ]
    }


def list_atlas_dependencies(context: RenderContext, scene: Scene) -> Dependencies:
    """Lists the painted atlas, if there is one."""
    if not context.inputs.stages.reenact.atlas or scene.atlas is None:
        return {}
    return {"atlas": scene.atlas.digest}


def list_driver_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what a driven face depends on; "track" is the face that the motion starts from."""
    scene = context.get_scene(frame)
    driven = scene.driven_frames[frame]
    return {
        "drive.engine": context.engines.drive.name,
        **list_param_dependencies(context, frame, "drive", leave=("engine",)),
        **list_param_dependencies(context, frame, "reenact", only=("inner_mouth",)),
        "driver": (compute_face_digest(driven.goal_face), list(driven.head_turn)),
        "track": compute_face_digest(driven.face),
        "views": [(get_view_name(scene, patch.view), patch.part, patch.weight) for patch in driven.patches],
    }


@remember_with
def compute_face_digest(face: Face) -> str:
    """Digests the data of a face that stages use."""
    landmarks = np.asarray(face.landmarks, np.float64)
    points = (landmarks, face.wflw, face.mesh)
    return compute_digest(list(face.box), *points, list(face.euler), face.confidence, face.origin)
