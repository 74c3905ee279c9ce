"""What makes a frame stale: what its picture depends on, one function per stage, read by the key and by the status.

A stage's function lists its dependencies as {name: value}. The key of a frame is the digest of all dependencies of the
stages that are rendered for it. A short digest per name is written beside the key, so that the status of a stale file
can name what has changed ("blend.grain").

Names are those of the status texts: a parameter by its name ("blend.mix", only where it is not at its default), the
engine and the weights of a stage ("blend.engine", "blend.network"), the files of a stage that is not rendered
("files.mask"), and the names of `LABELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fsgan_core.contract.stage_graph import FINAL, UPSTREAM_STAGES
from fsgan_core.render.context import NO_FACE, RenderContext
from fsgan_core.render.shared_dependencies import (
    Dependencies,
    compute_face_digest,
    get_view_name,
    list_atlas_dependencies,
    list_base_dependencies,
    list_common_dependencies,
    list_driver_dependencies,
    list_engine_dependencies,
    list_holdout_dependencies,
    list_iris_dependencies,
    list_likeness_dependencies,
    list_neighbour_dependencies,
    list_param_dependencies,
    list_target_glasses_dependencies,
    list_view_dependencies,
    round_weights,
)
from fsgan_core.runtime.cache import compute_digest

__all__ = ["compute_key", "compute_parts", "list_dependencies"]
KEY_FORMAT = "3"
PART_DIGITS = 6  # hexadecimal digits per name in the metadata


def list_reenact_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the reenacted face of a frame depends on; in a drive, the driven face."""
    if context.is_driven(frame):
        return _list_driven_picture(context, frame)
    scene = context.get_scene(frame)
    plan = scene.frame_plans[frame]
    return {
        **list_common_dependencies(context, frame),
        **list_engine_dependencies(context, "reenact", frame),
        **list_view_dependencies(context, scene, [view_choice.view for view_choice in plan.views]),
        **list_likeness_dependencies(context, scene, frame),
        **list_iris_dependencies(context, scene, frame),
        **list_atlas_dependencies(context, scene),
        "views": [
            [
                (get_view_name(scene, view_choice.view), round_weights(view_choice.light, view_choice.detail))
                for view_choice in plan.views
            ],
            list(plan.flags),
            *round_weights(plan.mirror),
        ],
    }


def list_mask_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the mask of a frame depends on."""
    scene, sequence = context.get_scene(frame), context.inputs.target.sequence
    neighbours = context.list_neighbours(frame)
    common = list_common_dependencies(context, frame)
    listed = {
        **common,
        **list_engine_dependencies(context, "mask", frame),
        **list_holdout_dependencies(context, frame),
        "target": [sequence.compute_fingerprint(neighbour) for neighbour in neighbours],
        "track": [
            common["track"],
            [(neighbour - frame, compute_face_digest(scene.faces[neighbour])) for neighbour in neighbours],
        ],
        **list_neighbour_dependencies(context, frame, neighbours),
        **list_target_glasses_dependencies(context, scene),
    }
    if context.is_driven(frame):
        driven = list_driver_dependencies(context, frame)
        listed |= {**driven, "track": [listed["track"], driven["track"]]}
    return listed


def list_inpaint_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the completed face of a frame depends on, beside the pictures of reenact and mask."""
    scene, further = context.get_scene(frame), context.list_further_views(frame)
    listed = {
        **list_common_dependencies(context, frame),
        **list_engine_dependencies(context, "inpaint", frame),
        **list_holdout_dependencies(context, frame),
    }
    if context.uses_atlas(frame) and scene.atlas is not None:
        listed["atlas"] = scene.atlas.digest
    if further:
        listed |= {
            **list_view_dependencies(context, scene, further),
            "views": [get_view_name(scene, view) for view in further],
        }
        if "reenact" in context.upstream:  # else they are among that stage's own
            listed |= {
                **list_engine_dependencies(context, "reenact", frame),
                **list_likeness_dependencies(context, scene, frame),
                **list_iris_dependencies(context, scene, frame),
                **list_atlas_dependencies(context, scene),
            }
    return listed


def list_blend_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the blended plate of a frame depends on, beside the pictures of inpaint and mask."""
    common = list_common_dependencies(context, frame)
    return {
        **common,
        **list_engine_dependencies(context, "blend", frame),
        **list_holdout_dependencies(context, frame),
        **list_param_dependencies(context, frame, "consent"),  # the finished frame's metadata state it
        "track": [common["track"], context.get_scene(frame).faces[frame].frame],  # grain differs from frame to frame
    }


def list_final_dependencies(context: RenderContext, frame: int) -> Dependencies:
    """Lists what the finished picture depends on, beside the blended plate."""
    base, inputs = list_base_dependencies(context, frame), context.inputs
    return {
        **base,
        "colour": [
            base["colour"],
            inputs.output_space,
            inputs.config.compute_digest(inputs.working_space, inputs.output_space),
        ],
        **list_param_dependencies(context, frame, "output", leave=("missing",)),
    }


STAGE_DEPENDENCIES: Mapping[str, Callable[[RenderContext, int], Dependencies]] = {
    "reenact": list_reenact_dependencies,
    "mask": list_mask_dependencies,
    "inpaint": list_inpaint_dependencies,
    "blend": list_blend_dependencies,
    FINAL: list_final_dependencies,
}


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
            list_final_dependencies(context, frame) if stage == FINAL else list_base_dependencies(context, frame)
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


def _list_driven_picture(context: RenderContext, frame: int) -> Dependencies:
    scene = context.get_scene(frame)
    common, driven = list_common_dependencies(context, frame), list_driver_dependencies(context, frame)
    return {
        **common,
        **driven,
        **list_engine_dependencies(context, "mask", frame),  # whatever is in front of the face does not move with it
        **list_holdout_dependencies(context, frame),
        **list_view_dependencies(context, scene, [patch.view for patch in scene.driven_frames[frame].patches]),
        "track": [common["track"], driven["track"]],
        **list_target_glasses_dependencies(context, scene),
        "views": [driven["views"], list(scene.frame_plans[frame].flags)],
    }
