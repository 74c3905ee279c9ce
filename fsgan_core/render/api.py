"""The calls that a script makes to render: `swap`, `drive`, `render` and `render_stage`.

They are public as `fsgan_core.swap` and so on. Each takes paths or Clips, opens them, renders on the chosen device and
returns a RenderResult. Errors that concern the whole job are raised; a frame that fails is listed in the result, and
the others are rendered.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.shot import ClipLike, Output, Shot, Stages, check_frames, to_clip, to_clips, to_stages
from fsgan_core.render import pipeline
from fsgan_core.runtime.device import choose_device
from fsgan_core.runtime.events import CancelCheck, EventListener, RenderResult, ignore_event, never_cancelled

__all__ = ["drive", "render", "render_stage", "swap"]


def swap(
    source: ClipLike | Sequence[ClipLike],
    target: ClipLike,
    output: str | os.PathLike[str] | Output,
    *,
    frames: str = "",
    settings: Mapping[str, Any] | Stages | None = None,
    holdout: ClipLike | None = None,
    device: str = "auto",
    force: bool = False,
    quick: bool = False,
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
) -> RenderResult:
    """Puts the source's face on the target's head, from files to EXR files.

    Args:
        source: Stills, sequences or movies of the person whose face is wanted.
        target: The plate that is changed.
        output: Pattern of the EXR files, such as "out/swap.####.exr"; or an Output with its colour space.
        frames: Frames to render, such as "1001-1060"; empty is all frames of the target.
        settings: Stage parameters by name, such as {"blend.engine": "multiband"}, or Stages.
        holdout: A matte; the plate stays as it is where the matte is 1.
        device: "auto" (the best available), "cpu", "cuda", "cuda:1" or "mps".
        force: Also renders frames whose file is already right.
        quick: For a look: analyses only these frames, and a few of each source, instead of whole clips. The frames have
            the flag "quick" and are stale for any other render.
        on_event: Called with each step. Several threads may call it, one at a time.
        is_cancelled: Called often, from several threads. Once it returns True, the render ends.

    Returns:
        The outcome of each frame. Failed frames are in `failures`.

    Raises:
        InputError: An input, a parameter or the output is wrong; subclasses say which.
        MachineError: This machine failed: the disk is full, for example.
        CancelledError: `is_cancelled` returned True.
    """
    shot = _make_shot("swap", source, target, output, frames, settings, holdout)
    return render(shot, device=device, force=force, quick=quick, on_event=on_event, is_cancelled=is_cancelled)


def drive(
    source: ClipLike | Sequence[ClipLike],
    target: ClipLike,
    output: str | os.PathLike[str] | Output,
    *,
    frames: str = "",
    settings: Mapping[str, Any] | Stages | None = None,
    holdout: ClipLike | None = None,
    device: str = "auto",
    force: bool = False,
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
) -> RenderResult:
    """Gives the plate's own actor another performer's expression, from files to EXR files.

    Args:
        source: The driver: a clip of the performer whose expression is wanted.
        target: The plate that is changed.
        output: As in `swap`.
        frames: As in `swap`.
        settings: As in `swap`.
        holdout: As in `swap`.
        device: As in `swap`.
        force: As in `swap`.
        on_event: As in `swap`.
        is_cancelled: As in `swap`.

    Returns:
        As in `swap`.

    Raises:
        FsganError: As in `swap`.
    """
    shot = _make_shot("drive", source, target, output, frames, settings, holdout)
    return render(shot, device=device, force=force, on_event=on_event, is_cancelled=is_cancelled)


def render(
    shot: Shot | str | os.PathLike[str],
    *,
    frames: str = "",
    device: str = "auto",
    force: bool = False,
    quick: bool = False,
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
) -> RenderResult:
    """Renders a shot: a swap or a drive with everything that a shot file says.

    Args:
        shot: A Shot, or the path of a shot file.
        frames: Frames to render; empty is those of the shot. Unless `quick`, it never changes how a frame looks.
        device: As in `swap`.
        force: As in `swap`.
        quick: As in `swap`; a drive cannot be quick.
        on_event: As in `swap`.
        is_cancelled: As in `swap`.

    Returns:
        As in `swap`.

    Raises:
        ShotError: The shot file is missing, broken or contradictory.
        FsganError: As in `swap`.
    """
    if not isinstance(shot, Shot):
        if not isinstance(shot, (str, os.PathLike)):
            raise InputError(f"a shot is a Shot or the path of a shot file, not {shot!r}; see fsgan_core.swap")
        shot = Shot.load(shot)
    return pipeline.render_shot(
        shot,
        frames=check_frames(frames),
        device=choose_device(device),
        force=force,
        quick=quick,
        on_event=on_event,
        is_cancelled=is_cancelled,
    )


def render_stage(
    stage: str,
    target: ClipLike,
    output: str | os.PathLike[str] | Output,
    *,
    source: ClipLike | Sequence[ClipLike] = (),
    upstream: Mapping[str, ClipLike] | None = None,
    job: str = "swap",
    frames: str = "",
    settings: Mapping[str, Any] | Stages | None = None,
    holdout: ClipLike | None = None,
    device: str = "auto",
    force: bool = False,
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
) -> RenderResult:
    """Renders one stage to EXR files, from the files of the stages before it.

    Args:
        stage: "reenact", "mask", "inpaint" or "blend".
        target: The plate that is changed.
        output: As in `swap`.
        source: As in `swap` or `drive`. `reenact` needs it; `inpaint` fills from other views only if it has it.
        upstream: Files of the stages before, by stage: `inpaint` needs "reenact" and "mask", `blend` needs "inpaint"
            and "mask".
        job: "swap" or "drive".
        frames: As in `swap`.
        settings: As in `swap`.
        holdout: As in `swap`.
        device: As in `swap`.
        force: As in `swap`.
        on_event: As in `swap`.
        is_cancelled: As in `swap`.

    Returns:
        As in `swap`.

    Raises:
        FsganError: As in `swap`.
    """
    output_clip = _to_output(output)
    return pipeline.render_stage(
        stage,
        sources=to_clips(source),
        target=to_clip(target),
        output=output_clip.path,
        stages=to_stages(settings),
        job=job,
        holdout=None if holdout is None else to_clip(holdout),
        upstream={name: to_clip(clip) for name, clip in (upstream or {}).items()},
        output_colorspace=output_clip.colorspace,
        frames=check_frames(frames),
        device=choose_device(device),
        force=force,
        on_event=on_event,
        is_cancelled=is_cancelled,
    )


def _make_shot(
    job: str,
    source: ClipLike | Sequence[ClipLike],
    target: ClipLike,
    output: str | os.PathLike[str] | Output,
    frames: str,
    settings: Mapping[str, Any] | Stages | None,
    holdout: ClipLike | None,
) -> Shot:
    return Shot(
        source=to_clips(source),
        target=to_clip(target),
        output=_to_output(output),
        job=job,
        frames=check_frames(frames),
        holdout=None if holdout is None else to_clip(holdout),
        stages=to_stages(settings),
    )


def _to_output(output: str | os.PathLike[str] | Output) -> Output:
    if isinstance(output, Output):
        return replace(output, path=os.fspath(output.path))
    if not isinstance(output, (str, os.PathLike)):
        raise InputError(f"the output is a path like out/swap.####.exr or an Output, not {output!r}")
    return Output(os.fspath(output))
