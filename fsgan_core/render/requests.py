"""What the protocol's requests describe, as renders that have not begun."""

from __future__ import annotations

from typing import Any

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import ShotError
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.render.pipeline import RenderJob, plan_shot_job, plan_stage_job
from fsgan_core.runtime.device import choose_device

__all__ = ["parse_request_shot", "plan_request_job"]


def plan_request_job(
    request: protocol.RenderRequest | protocol.KeysRequest, device: str = "auto", **options: Any
) -> RenderJob:
    """The render that a request describes, before it begins. device: where it names none. options: as Work has
    them. Raises FsganError."""
    device = choose_device(request.device or device)
    if not request.stage:
        if request.upstream:
            raise ShotError("a whole shot has no files of stages before it")
        return plan_shot_job(Shot.from_dict(request.shot), frames=request.frames, device=device, **options)
    shot = parse_request_shot(request)
    return plan_stage_job(
        request.stage,
        sources=shot.source if request.shot.get("source") else (),
        target=shot.target,
        output=shot.output.path,
        stages=shot.stages,
        job=shot.job,
        holdout=shot.holdout,
        upstream={stage: _parse_clip(clip) for stage, clip in request.upstream.items()},
        output_colorspace=shot.output.colorspace,
        frames=request.frames or shot.frames,
        device=device,
        **options,
    )


def parse_request_shot(request: protocol.RenderRequest | protocol.KeysRequest) -> Shot:
    """A shot has a source; a stage may do without. Raises ShotError, ParameterError."""
    return Shot.from_dict({**request.shot, "source": request.shot.get("source") or "none"})


def _parse_clip(data: Any) -> Clip:
    """A path or a table as in a shot. Raises ShotError."""
    return Shot.from_dict({"source": "none", "target": data, "output": "none"}).target
