"""What makes a frame stale: what its picture depends on, one function per stage, read by the key and by the status.

A stage's function lists its dependencies as {name: value}. The key of a frame is the digest of all dependencies of the
stages that are rendered for it. A short digest per name is written beside the key, so that the status of a stale file
can name what has changed ("blend.grain").

Names are those of the status texts: a parameter by its name ("blend.mix", only where it is not at its default), the
engine and the weights of a stage ("blend.engine", "blend.network"), the files of a stage that is not rendered
("files.mask"), and the names of `LABELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fsgan_core.clips.inputs import get_holdout_frame
from fsgan_core.contract.param_fields import iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS, ReenactParams
from fsgan_core.contract.stage_graph import FINAL, UPSTREAM_STAGES
from fsgan_core.contract.version import __version__
from fsgan_core.faces.face import Face
from fsgan_core.render.context import NO_FACE, RenderContext
from fsgan_core.render.scene import Scene, select_likeness, uses_iris_colour
from fsgan_core.runtime.cache import compute_code_digest, compute_digest
from fsgan_core.stages.drive import compute_drive_margin
from fsgan_core.stages.masking import MEASURING_PARAMS
from fsgan_core.stages.views import ViewRef

__all__ = [
    "KEYED_CODE",
    "LABELS",
    "Dependencies",
    "compute_face_digest",
    "compute_key",
    "compute_parts",
    "describe_parts",
    "find_changed_parts",
    "format_parts",
    "list_dependencies",
]

Dependencies: TypeAlias = dict[str, Any]
"""Name -> value; plain data that `compute_digest` takes."""

KEY_FORMAT = "3"
PART_DIGITS = 6  # hexadecimal digits per name in the metadata
WEIGHT_DIGITS = 6  # decimals of a view's weights; more would differ between machines
PART_UNKNOWN = "unknown"
PART_OTHER = "other"

# Packages and files below fsgan_core that decide how a frame looks.
KEYED_CODE = (
    "faces",
    "plates",
    "stages",
    "networks",
    "clips/inputs.py",
    "clips/tracks.py",
    "render/scene.py",
    "render/context.py",
    "render/covered_views.py",
    "render/frames.py",
    "render/final.py",
)

# Parameters that name files. The contents of the files are part of the key, their paths are not.
FILE_PARAMS = ("network", "atlas")

# For an artist: the meaning of names that are not parameters.
LABELS: Mapping[str, str] = {
    "program": "another version of fsgan",
    "colour": "colour space, or what OCIO does with it",
    "target": "the target's frames",
    "track": "the target's track",
    "exposure": "exposure of the target",
    "source": "the source's frames",
    "source_track": "the source's track",
    "views": "choice of source views",
    "likeness": "the source's proportions",
    "irises": "frames that show the colour of the eyes",
    "atlas": "the source's atlas",
    "driver": "the driver's performance",
    "holdout": "the hold-out",
    "damaged": "the file is damaged",
    "input": "an input is missing",
    "analysis": "never analysed as it is now",
    PART_UNKNOWN: "not known",
    PART_OTHER: "something else",
}


# Dependencies of each stage by itself.


def list_reenact_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the reenacted face of a frame depends on; in a drive, the driven face."""
    if context.is_driven(frame):
        return _list_driven_picture(context, frame)
    scene = context.get_scene(frame)
    plan = scene.frame_plans[frame]
    return {
        **_list_common(context, frame),
        **_list_engine_and_params(context, "reenact", frame),
        **_list_views(context, scene, [view_choice.view for view_choice in plan.views]),
        **_list_likeness(context, scene, frame),
        **_list_irises(context, scene, frame),
        **_list_painted_atlas(context, scene),
        "views": [
            [
                (_name_view(scene, view_choice.view), _round_weights(view_choice.light, view_choice.detail))
                for view_choice in plan.views
            ],
            list(plan.flags),
            _round_weights(plan.inner_mouth),
        ],
    }


def list_mask_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the mask of a frame depends on."""
    scene, sequence = context.get_scene(frame), context.inputs.target.sequence
    neighbours = context.list_neighbours(frame)
    common = _list_common(context, frame)
    listed = {
        **common,
        **_list_engine_and_params(context, "mask", frame),
        **_list_holdout(context, frame),
        "target": [sequence.compute_fingerprint(neighbour) for neighbour in neighbours],
        "track": [
            common["track"],
            [(neighbour - frame, compute_face_digest(scene.faces[neighbour])) for neighbour in neighbours],
        ],
        **_list_neighbour_params(context, frame, neighbours),
    }
    if context.is_driven(frame):
        driven = _list_driver(context, frame)
        listed |= {**driven, "track": [listed["track"], driven["track"]]}
    return listed


def list_inpaint_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the completed face of a frame depends on, beside the pictures of reenact and mask."""
    scene, further = context.get_scene(frame), context.list_further_views(frame)
    listed = {
        **_list_common(context, frame),
        **_list_engine_and_params(context, "inpaint", frame),
        **_list_holdout(context, frame),
    }
    if context.uses_atlas(frame) and scene.atlas is not None:
        listed["atlas"] = scene.atlas.digest
    if further:
        listed |= {**_list_views(context, scene, further), "views": [_name_view(scene, view) for view in further]}
        if "reenact" in context.upstream:  # else they are among that stage's own
            listed |= {
                **_list_engine_and_params(context, "reenact", frame),
                **_list_likeness(context, scene, frame),
                **_list_irises(context, scene, frame),
                **_list_painted_atlas(context, scene),
            }
    return listed


def list_blend_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the blended plate of a frame depends on, beside the pictures of inpaint and mask."""
    common = _list_common(context, frame)
    return {
        **common,
        **_list_engine_and_params(context, "blend", frame),
        **_list_holdout(context, frame),
        **_list_changed_params(context, frame, "consent"),  # the finished frame's metadata state it
        "track": [common["track"], context.get_scene(frame).faces[frame].frame],  # grain differs from frame to frame
    }


def list_final_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the finished picture depends on, beside the blended plate."""
    base, inputs = _list_base(context, frame), context.inputs
    return {
        **base,
        "colour": [
            base["colour"],
            inputs.output_space,
            inputs.config.compute_digest(inputs.working_space, inputs.output_space),
        ],
        **_list_changed_params(context, frame, "output", leave=("missing",)),
    }


STAGE_DEPENDENCIES: Mapping[str, Callable[[RenderContext, int], Dependencies]] = {
    "reenact": list_reenact_dependencies,
    "mask": list_mask_dependencies,
    "inpaint": list_inpaint_dependencies,
    "blend": list_blend_dependencies,
    FINAL: list_final_dependencies,
}


# Dependencies, key and parts of a file.


def list_dependencies(context: RenderContext, stage: str, frame: int) -> Dependencies:
    """Lists what the file of a frame depends on: the stage itself and all stages that are rendered for it.

    Args:
        context: The job.
        stage: "final", or the stage whose own files are written.
        frame: An available frame of the target.

    Returns:
        Name -> {stage: value}.

    Raises:
        PlateError: An input is missing.
        FsganError: What the analysis raises.
    """
    listed: Dependencies = {}
    if not context.has_face(frame):
        unchanged_dependencies = (
            list_final_dependencies(context, frame) if stage == FINAL else _list_base(context, frame)
        )
        return {name: {stage: value} for name, value in {**unchanged_dependencies, "track": NO_FACE}.items()}
    for made_stage in _list_made_stages(stage, context.upstream):
        for name, value in STAGE_DEPENDENCIES[made_stage](context, frame).items():
            listed.setdefault(name, {})[made_stage] = value
        for read_stage in _list_inputs(made_stage):
            if read_stage in context.upstream:
                fingerprint = context.upstream[read_stage].sequence.compute_fingerprint(frame)
                listed.setdefault(f"files.{read_stage}", {})[made_stage] = fingerprint
    return listed


def compute_key(stage: str, dependencies: Dependencies) -> str:
    """Computes the key of a file from its dependencies."""
    return compute_digest(KEY_FORMAT, stage, dependencies)


def compute_parts(dependencies: Dependencies) -> dict[str, str]:
    """Computes a short digest of each dependency."""
    return {name: compute_digest(value)[:PART_DIGITS] for name, value in dependencies.items()}


def _list_inputs(stage: str) -> tuple[str, ...]:
    return ("blend",) if stage == FINAL else UPSTREAM_STAGES[stage]


def _list_made_stages(stage: str, upstream: Mapping[str, Any]) -> tuple[str, ...]:
    """Lists the stages that are rendered, not read from files, for a stage's picture; the stage itself first."""
    earlier_stages = [name for name in _list_inputs(stage) if name not in upstream]
    return tuple(
        dict.fromkeys(
            [stage, *(name for earlier_stage in earlier_stages for name in _list_made_stages(earlier_stage, upstream))]
        )
    )


# What several stages depend on.


def _list_base(context: RenderContext, frame: int) -> Dependencies:
    """What every file depends on, with or without a face."""
    inputs = context.inputs
    return {
        "program": (__version__, compute_code_digest(KEYED_CODE)),
        "colour": (
            inputs.target.space,
            inputs.working_space,
            inputs.config.compute_digest(inputs.target.space, inputs.working_space),
        ),
        "target": inputs.target.sequence.compute_fingerprint(frame),
        **_list_changed_params(context, frame, "colour", only=("as_published",)),
    }


def _list_common(context: RenderContext, frame: int) -> Dependencies:
    """What every stage depends on: the base, the face and the region."""
    scene, stages = context.get_scene(frame), context.inputs.stages
    listed = {
        **_list_base(context, frame),
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


def _list_engine_and_params(context: RenderContext, stage: str, frame: int) -> Dependencies:
    engine = context.engines[stage]
    listed: Dependencies = {f"{stage}.engine": engine.name}
    if engine.installed_weights:
        listed[f"{stage}.network"] = engine.get_weight_hashes()
        listed |= _list_changed_params(context, frame, "weights", only=("precision",))
    return listed | _list_changed_params(context, frame, stage, leave=("engine", *FILE_PARAMS))


def _list_changed_params(
    context: RenderContext, frame: int, stage: str, leave: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> Dependencies:
    """A stage's parameters in a frame, those that are not at their default."""
    values, default = getattr(context.get_stages(frame), stage), STAGE_PARAMS[stage]()
    names = only or tuple(field.name for field in iterate_param_fields(STAGE_PARAMS[stage]) if field.name not in leave)
    return {f"{stage}.{name}": value for name in names if (value := getattr(values, name)) != getattr(default, name)}


def _list_neighbour_params(context: RenderContext, frame: int, neighbours: Sequence[int]) -> Dependencies:
    """The parameters with which a frame's neighbours are measured, where they differ from the frame's own."""
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


def _list_holdout(context: RenderContext, frame: int) -> Dependencies:
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


def _list_views(context: RenderContext, scene: Scene, views: Iterable[ViewRef]) -> Dependencies:
    """The pictures of views, and the faces in them."""
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
    }


def _name_view(scene: Scene, view: ViewRef) -> tuple[str, int]:
    return (scene.view_clips[view.clip].clip_input.name, view.frame)


def _round_weights(*weights: float) -> list[float]:
    return [round(float(weight), WEIGHT_DIGITS) for weight in weights]


def _list_likeness(context: RenderContext, scene: Scene, frame: int) -> Dependencies:
    likeness = select_likeness(scene, context.get_stages(frame).reenact)
    return {} if likeness is None else {"likeness": likeness}


def _list_irises(context: RenderContext, scene: Scene, frame: int) -> Dependencies:
    """What the colours of irises are measured in."""
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
                for frame in scene.iris_frames
            ),
        ]
    }


def _list_painted_atlas(context: RenderContext, scene: Scene) -> Dependencies:
    if not context.inputs.stages.reenact.atlas or scene.atlas is None:
        return {}
    return {"atlas": scene.atlas.digest}


def _list_driver(context: RenderContext, frame: int) -> Dependencies:
    """What a driven face depends on; "track" is the face that the motion starts from."""
    scene = context.get_scene(frame)
    driven = scene.driven_frames[frame]
    return {
        "drive.engine": context.engines.drive.name,
        **_list_changed_params(context, frame, "drive", leave=("engine",)),
        **_list_changed_params(context, frame, "reenact", only=("inner_mouth",)),
        "driver": (compute_face_digest(driven.goal_face), list(driven.head_turn)),
        "track": compute_face_digest(driven.face),
        "views": [(_name_view(scene, patch.view), patch.part, patch.weight) for patch in driven.patches],
    }


def _list_driven_picture(context: RenderContext, frame: int) -> Dependencies:
    scene = context.get_scene(frame)
    common, driven = _list_common(context, frame), _list_driver(context, frame)
    return {
        **common,
        **driven,
        **_list_engine_and_params(context, "mask", frame),  # whatever is in front of the face does not move with it
        **_list_holdout(context, frame),
        **_list_views(context, scene, [patch.view for patch in scene.driven_frames[frame].patches]),
        "track": [common["track"], driven["track"]],
        "views": [driven["views"], list(scene.frame_plans[frame].flags)],
    }


def compute_face_digest(face: Face) -> str:
    """Digests the data of a face that stages use."""
    landmarks = np.asarray(face.landmarks, np.float64)
    points = (landmarks, face.wflw, face.mesh)
    return compute_digest(list(face.box), *points, list(face.euler), face.confidence, face.origin)


# Parts in metadata and in texts.


def format_parts(parts: Mapping[str, str]) -> str:
    """Formats parts for the metadata.

    >>> format_parts({"target": "00ab12", "blend.mix": "3fa201"})
    'blend.mix:3fa201 target:00ab12'
    """
    return " ".join(f"{name}:{short}" for name, short in sorted(parts.items()))


def find_changed_parts(text: str, parts: Mapping[str, str]) -> tuple[str, ...]:
    """Finds the dependencies that have changed since a file was written.

    Args:
        text: The file's metadata, as `format_parts` writes it.
        parts: What the file should have.

    Returns:
        Sorted names; never empty.

    >>> find_changed_parts("blend.mix:3fa201 target:00ab12", {"target": "00ab12"})
    ('blend.mix',)
    """
    file_parts = dict(part.split(":", 1) for part in text.split() if ":" in part)
    if not file_parts:
        return (PART_UNKNOWN,)
    names = sorted(name for name in {*file_parts, *parts} if file_parts.get(name) != parts.get(name))
    return tuple(names) or (PART_OTHER,)


def describe_parts(parts: tuple[str, ...]) -> str:
    """Describes changed parts for an artist.

    >>> describe_parts(("blend.mix", "track", "files.mask"))
    "blend.mix, the target's track, the files of mask"
    """
    texts = []
    for part in parts:
        kind, _, name = part.partition(".")
        texts.append(f"the files of {name}" if kind == "files" else LABELS.get(part, part))
    return ", ".join(texts)
