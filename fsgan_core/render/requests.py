"""Plans of the renders that the protocol's requests describe."""

from __future__ import annotations

from typing import Any

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import ShotError
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.render.plan import RenderPlan, plan_shot_job, plan_stage_job
from fsgan_core.runtime.device import choose_device

__all__ = ["parse_request_shot", "plan_request_job"]


def plan_request_job(request: protocol.RenderRequest | protocol.KeysRequest, device: str = "auto") -> RenderPlan:
    """Plans the render that a request describes.

    Args:
        request: A request of the worker's protocol.
        device: What networks run on, if the request does not say it.

    Raises:
        FsganError: Something is wrong with the inputs or the parameters.
    """
    device = choose_device(request.device or device)
    if not request.stage:
        if request.upstream:
            raise ShotError("a whole shot takes no files of earlier stages (upstream)")
        return plan_shot_job(Shot.from_dict(request.shot), frames=request.frames, device=device)
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
    )


def parse_request_shot(request: protocol.RenderRequest | protocol.KeysRequest) -> Shot:
    """Reads the shot of a request; for a single stage it needs no source. Raises ShotError, ParameterError."""
    return Shot.from_dict({**request.shot, "source": request.shot.get("source") or "none"})


def _parse_clip(data: Any) -> Clip:
    """Reads a clip: a path, or a table as in a shot. Raises ShotError."""
    return Shot.from_dict({"source": "none", "target": data, "output": "none"}).target
