"""Each dependency changes the key and is named by the status; what does not matter changes neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fsgan_core.contract.param_fields import iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_core.contract.shot import Stages
from fsgan_core.contract.stage_graph import FINAL, RENDER_STAGES
from fsgan_core.render import shared_dependencies
from fsgan_core.render.changed_parts import describe_parts, find_changed_parts, format_parts
from fsgan_core.render.context import RenderContext
from fsgan_core.render.engines import NetworkRuntime, ResolvedEngine
from fsgan_core.render.frames import FrameRenderer
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.scene import Scene
from fsgan_core.render.staleness import compute_key, compute_parts, list_dependencies
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.drive import DrivenFrame, Patch
from tests.small_shot import Small

FRAME = 2
ALL = (*RENDER_STAGES[:3], FINAL)


@pytest.fixture(scope="module")
def context(small: Small, tmp_path_factory: pytest.TempPathFactory) -> RenderContext:
    """A swap whose frames have a further view, and whose mask is averaged with one neighbour on each side."""
    shot = small.shot(tmp_path_factory.mktemp("keys"), "2", mask__smooth="1")
    job = RenderJob(plan_shot_job(shot))
    scene = job.scenes(FRAME)
    plans = {
        frame: replace(plan, further_views=(ViewRef(0, plan.views[0].view.frame),))
        for frame, plan in scene.frame_plans.items()
    }
    return with_scene(job.context, frame_plans=plans)


def with_scene(context: RenderContext, **changes: Any) -> RenderContext:
    scene: Scene = replace(context.get_scene(FRAME), **changes)
    return replace(context, get_scene=lambda frame: scene)


def with_params(context: RenderContext, stage: str, **changes: Any) -> RenderContext:
    """Values are not checked: only that they enter the keys."""
    stages = context.inputs.stages
    params = replace(getattr(stages, stage))
    for name, value in changes.items():
        object.__setattr__(params, name, value)
    return replace(context, inputs=replace(context.inputs, stages=replace(stages, **{stage: params})))


def driven(context: RenderContext) -> RenderContext:
    """The same frames as a drive: the target's own face moves, its mouth comes from another clip."""
    scene = context.get_scene(FRAME)
    views = tuple(scene.view_clips) * 2
    only = next(iter(scene.view_clips[0].performer.faces))
    mouth = (Patch(ViewRef(0, only), "mouth", 0.5),)
    frames = {
        frame: DrivenFrame(face, face.with_landmarks(face.landmarks + 1.0), mouth)
        for frame, face in scene.faces.items()
    }
    return with_scene(context, driven_frames=frames, view_clips=views)


def list_changes(before: RenderContext, after: RenderContext, stage: str) -> tuple[str, ...]:
    """What the status names; checks that the key says the same."""
    one, other = (list_dependencies(context, stage, FRAME) for context in (before, after))
    same_key = compute_key(stage, one) == compute_key(stage, other)
    changed = find_changed_parts(format_parts(compute_parts(one)), compute_parts(other))
    assert same_key == (changed == ("other",))
    assert describe_parts(changed)
    return () if same_key else changed


def differ(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if value is None:
        return 0.5
    return (*value, "x") if not value or isinstance(value[0], str) else value[:-1]


def list_params(*stages: str) -> list[tuple[str, str]]:
    return [
        (stage, field.name)
        for stage in stages
        for field in iterate_param_fields(STAGE_PARAMS[stage])
        if field.name not in ("engine", "network", "atlas")  # of named files the contents count
    ]


# Besides its own stage, a parameter counts where the region or a further view depends on it, and in every later stage.
AFTER = {
    "reenact": ("reenact", "inpaint", FINAL),
    "mask": ("mask", "inpaint", FINAL),
    "inpaint": ("inpaint", FINAL),
    "blend": (FINAL,),
}


@pytest.mark.parametrize(("stage", "name"), list_params("reenact", "mask", "inpaint", "blend"))
def test_each_parameter_of_a_swap(context: RenderContext, stage: str, name: str) -> None:
    other = with_params(context, stage, **{name: differ(getattr(getattr(context.inputs.stages, stage), name))})
    for rendered in ALL:
        changed = list_changes(context, other, rendered)
        if rendered in AFTER[stage] or (stage, name) == ("reenact", "margin"):
            assert f"{stage}.{name}" in changed
            derived = {
                "likeness",
                "atlas",
                "irises",
                "glasses",
                "source_glasses",
                "track",
                "target",
                "source",
                "source_track",
                "views",
            }
            assert set(changed) <= {f"{stage}.{name}", *derived}
        else:
            assert changed == ()


@pytest.mark.parametrize(("stage", "name"), list_params("drive", "mask"))
def test_each_parameter_of_a_drive(context: RenderContext, stage: str, name: str) -> None:
    first = driven(context)
    other = with_params(first, stage, **{name: differ(getattr(getattr(first.inputs.stages, stage), name))})
    for rendered in ("reenact", "mask", FINAL):
        assert f"{stage}.{name}" in list_changes(first, other, rendered)


@pytest.mark.parametrize(("stage", "name"), list_params("drive"))
def test_a_swap_does_not_depend_on_the_drive(context: RenderContext, stage: str, name: str) -> None:
    other = with_params(context, stage, **{name: differ(getattr(getattr(context.inputs.stages, stage), name))})
    assert [list_changes(context, other, rendered) for rendered in ALL] == [()] * 4


def test_output(context: RenderContext) -> None:
    for name in ("compression", "depth", "layers"):
        other = with_params(context, "output", **{name: "x"})
        assert list_changes(context, other, FINAL) == (f"output.{name}",)
        assert list_changes(context, other, "mask") == ()
    assert list_changes(context, with_params(context, "output", missing="hold"), FINAL) == ()


def test_colour_and_exposure(context: RenderContext) -> None:
    inputs = context.inputs
    for changes in ({"working_space": "ACES2065-1"}, {"target": replace(inputs.target, space="ACEScct")}):
        other = replace(context, inputs=replace(inputs, **changes))
        assert [list_changes(context, other, stage) for stage in ALL] == [("colour",)] * 4
    other = replace(context, inputs=replace(inputs, output_space="ACES2065-1"))
    assert [list_changes(context, other, stage) for stage in ALL] == [(), (), (), ("colour",)]
    other = with_scene(context, exposure=context.get_scene(FRAME).exposure + 1)
    assert [list_changes(context, other, stage) for stage in ALL] == [("exposure",)] * 4


def test_tracks(context: RenderContext) -> None:
    """Of the face in every stage, of a neighbour in the mask and what follows it, of a distant frame nowhere."""
    # A face that shows the colour of the eyes counts in every frame.
    context = with_scene(context, open_eyed_frames=())
    faces = context.get_scene(FRAME).faces

    def move(frame: int) -> RenderContext:
        face = faces[frame]
        return with_scene(context, faces={**faces, frame: face.with_landmarks(face.landmarks + 0.5)})

    assert [list_changes(context, move(FRAME), stage) for stage in ALL] == [("track",)] * 4
    assert [list_changes(context, move(FRAME + 1), stage) for stage in ALL] == [(), ("track",), ("track",), ("track",)]
    assert [list_changes(context, move(FRAME + 2), stage) for stage in ALL] == [()] * 4
    without = {frame: face for frame, face in faces.items() if frame != FRAME}
    assert "track" in list_changes(context, with_scene(context, faces=without), FINAL)


def test_frames_that_show_the_source_s_glasses(context: RenderContext) -> None:
    """They decide whether its views lose any, so they count, unless the views keep what they show."""
    clip = context.get_scene(FRAME).view_clips[0]
    shown = clip.open_eyed_frames[0]
    moved = clip.performer.faces[shown].with_landmarks(clip.performer.faces[shown].landmarks + 0.5)
    performer = replace(clip.performer, faces={**clip.performer.faces, shown: moved})
    other = with_scene(context, view_clips=(replace(clip, performer=performer),))
    assert "source_glasses" in list_changes(context, other, "reenact")
    keeping = [with_params(one, "reenact", keep_source_glasses=True) for one in (context, other)]
    assert "source_glasses" not in list_changes(*keeping, "reenact")


def test_frames_that_show_glasses(context: RenderContext) -> None:
    """The target's glasses stay in front in all frames or in none."""
    other = with_scene(context, open_eyed_frames=(FRAME,))
    assert len(context.get_scene(FRAME).open_eyed_frames) > 1
    assert list_changes(context, other, "mask") == ("glasses",)
    without = with_params(context, "mask", keep_glasses=False), with_params(other, "mask", keep_glasses=False)
    assert list_changes(*without, "mask") == ()


def test_a_drive_does_not_look_for_the_actors_glasses(context: RenderContext) -> None:
    first = driven(context)
    other = with_scene(first, open_eyed_frames=(FRAME,))
    assert "glasses" not in list_changes(first, other, FINAL)


@pytest.mark.parametrize(
    "changes",
    [
        {"flags": ("pose-clamped",)},
        {"mirror": 1.0},
        {"views": "other"},
        {"views": "weight"},
    ],
    ids=str,
)
def test_choice_of_views(context: RenderContext, changes: dict[str, Any]) -> None:
    plans = context.get_scene(FRAME).frame_plans
    first = plans[FRAME].views[0]
    if changes == {"views": "other"}:
        changes = {"views": (replace(first, detail=0.5),)}
    elif changes == {"views": "weight"}:
        changes = {"views": (replace(first, light=0.5),)}
    other = with_scene(context, frame_plans={**plans, FRAME: replace(plans[FRAME], **changes)})
    assert [list_changes(context, other, stage) for stage in ALL] == [("views",), (), ("views",), ("views",)]


def test_further_views(context: RenderContext) -> None:
    plans = context.get_scene(FRAME).frame_plans
    other = with_scene(context, frame_plans={**plans, FRAME: replace(plans[FRAME], further_views=())})
    assert list_changes(context, other, "reenact") == list_changes(context, other, "mask") == ()
    assert "views" in list_changes(context, other, "inpaint")
    off = with_params(context, "inpaint", other_views=False)
    assert list_changes(off, with_params(other, "inpaint", other_views=False), FINAL) == ()


def test_source_and_likeness(context: RenderContext) -> None:
    scene = context.get_scene(FRAME)
    [clip] = scene.view_clips
    brighter = with_scene(context, view_clips=(replace(clip, exposure=clip.exposure + 1),))
    assert [list_changes(context, brighter, stage) for stage in ALL] == [
        ("source_track",),
        (),
        ("source_track",),
        ("source_track",),
    ]
    other_space = replace(clip, clip_input=replace(clip.clip_input, space="ACEScct"))
    assert list_changes(context, with_scene(context, view_clips=(other_space,)), "reenact") == ("irises", "source")
    other = with_scene(context, likeness=np.ones((478, 3)))
    likeness = with_params(context, "reenact", likeness=0.5), with_params(other, "reenact", likeness=0.5)
    assert list_changes(*likeness, "reenact") == ("likeness",)
    unused = with_params(context, "reenact", likeness=0.0), with_params(other, "reenact", likeness=0.0)
    assert list_changes(*unused, FINAL) == ()


def test_holdout(context: RenderContext) -> None:
    """In a swap all stages but reenact use it; in a drive all do."""
    target = context.inputs.target

    def hold(first: RenderContext, channel: str) -> RenderContext:
        return replace(first, inputs=replace(first.inputs, holdout=replace(target, channel=channel)))

    changed = ("holdout",)
    assert [list_changes(context, hold(context, "A"), stage) for stage in ALL] == [(), *[changed] * 3]
    assert list_changes(hold(context, "A"), hold(context, "id.roto"), "mask") == changed
    first = driven(context)
    assert [list_changes(first, hold(first, "A"), stage) for stage in ALL] == [changed] * 4


@pytest.mark.parametrize("stage", ["reenact", "mask", "inpaint", "blend"])
def test_engine_and_weights(context: RenderContext, stage: str) -> None:
    engine = context.engines[stage]

    def install(sha: str, precision: str = "auto") -> RenderContext:
        found: Any = SimpleNamespace(info=SimpleNamespace(name="net", licence="mine", prewarp=True), sha256=sha)
        new = ResolvedEngine(engine.engine, {stage: found}, NetworkRuntime("cpu", precision))
        return replace(context, engines=replace(context.engines, **{stage: new}))

    rendered = stage if stage in ALL else FINAL
    assert list_changes(context, install("aa"), rendered) == (f"{stage}.network",)
    assert list_changes(install("aa"), install("bb"), rendered) == (f"{stage}.network",)
    half = with_params(install("aa"), "weights", precision="half")
    assert list_changes(install("aa"), half, rendered) == ("weights.precision",)
    assert list_changes(context, with_params(context, "weights", precision="half"), rendered) == ()
    renamed = replace(engine, engine=replace(engine.engine, name="other"))
    other = replace(context, engines=replace(context.engines, **{stage: renamed}))
    assert list_changes(context, other, rendered) == (f"{stage}.engine",)


def test_driver(context: RenderContext) -> None:
    first = driven(context)
    frames = first.get_scene(FRAME).driven_frames
    own = frames[FRAME]

    def change(**changes: Any) -> RenderContext:
        return with_scene(first, driven_frames={**frames, FRAME: replace(own, **changes)})

    goal = own.goal_face.with_landmarks(own.goal_face.landmarks + 1)
    assert list_changes(first, change(goal_face=goal), "reenact") == ("driver",)
    assert list_changes(first, change(goal_face=goal), "mask") == ("driver",)
    assert list_changes(first, change(head_turn=(1.0, 0.0, 0.0)), FINAL) == ("driver",)
    assert list_changes(first, change(patches=(replace(own.patches[0], weight=0.25),)), FINAL) == ("views",)


def test_upstream_files_replace_what_they_are_made_from(context: RenderContext) -> None:
    files = {"inpaint": context.inputs.target, "mask": context.inputs.target}
    blend = replace(context, upstream=files)
    assert list_changes(blend, with_params(blend, "reenact", stiffness=0.5), FINAL) == ()
    assert list_changes(blend, with_params(blend, "mask", feather=0.5), FINAL) == ()
    assert list_changes(blend, with_params(blend, "blend", mix=0.5), FINAL) == ("blend.mix",)
    assert {"files.inpaint", "files.mask"} <= set(list_changes(context, blend, FINAL))
    # Inpainting reenacts further views itself, so it depends on how.
    inpaint = replace(context, upstream={"reenact": context.inputs.target, "mask": context.inputs.target})
    assert list_changes(inpaint, with_params(inpaint, "reenact", stiffness=0.5), "inpaint") == ("reenact.stiffness",)


def test_program(context: RenderContext, monkeypatch: pytest.MonkeyPatch) -> None:
    before = compute_parts(list_dependencies(context, FINAL, FRAME))
    monkeypatch.setattr(shared_dependencies, "__version__", "0.0")
    after = compute_parts(list_dependencies(context, FINAL, FRAME))
    assert find_changed_parts(format_parts(before), after) == ("program",)


def test_keys_make_no_pictures(context: RenderContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("get_target", "render_reenacted", "render_mattes"):
        monkeypatch.setattr(FrameRenderer, name, None)
    assert Stages() != context.inputs.stages
    assert list_dependencies(context, FINAL, FRAME)
