"""Answers a worker's requests by calls of the pipeline; the answers are plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsgan_core.clips.tracks import write_track
from fsgan_core.contract import protocol
from fsgan_core.contract.errors import ProtocolError, SessionRefusedError, ShotError
from fsgan_core.contract.shot import Shot
from fsgan_core.contract.version import __version__
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.render.frame_status import compute_frame_states, summarise_states
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.render.requests import parse_request_shot, plan_request_job
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.runtime.device import choose_device, list_devices
from fsgan_core.runtime.events import CancelCheck, Event, EventListener, raise_if_cancelled

__all__ = ["RequestHandler", "make_frame_path"]

MAX_PLANS = 16  # plans kept for questions about the state of frames; they hold no pixels


class RequestHandler:
    """Answers a worker's requests. One render or analysis may run at a time, and one question beside it.

    Args:
        device: Device of requests that name none.
        variables: The environment variables of this process that can change pixels; a farm's task with other values is
            refused.
    """

    def __init__(self, device: str = "auto", variables: Mapping[str, str] | None = None) -> None:
        self._device = device
        self._variables = dict(variables or {})
        self._warm_cache = WarmCache()
        self._plan_cache = WarmCache(count=MAX_PLANS)
        self._answers: Mapping[
            type[protocol.ProtocolRequest], Callable[[Any, EventListener, CancelCheck], dict[str, Any]]
        ] = {
            protocol.RenderRequest: self._answer_render,
            protocol.KeysRequest: self._answer_keys,
            protocol.AnalyseRequest: self._answer_analyse,
            protocol.ViewsRequest: self._answer_views,
            protocol.AtlasRequest: self._answer_atlas,
            protocol.DrawTrackRequest: self._answer_draw_track,
            protocol.DoctorRequest: self._answer_doctor,
            protocol.DescribeRequest: self._answer_describe,
            protocol.BundleRequest: self._answer_bundle,
            protocol.FarmTaskRequest: self._answer_farm_task,
        }

    def answer(
        self, request: protocol.ProtocolRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        """Answers a request.

        Args:
            request: Any request except those that the server answers itself.
            on_event: Called with each step, from any thread.
            is_cancelled: Asked often; once it is true the request ends soon.

        Returns:
            The data of the request's result.

        Raises:
            FsganError: The request failed.
        """
        answer_request = self._answers.get(type(request))
        if answer_request is None:
            raise ProtocolError(f"a worker does not answer {request.name}")
        return answer_request(request, on_event, is_cancelled)

    def release_memory(self) -> None:
        """Forgets what earlier requests left in memory."""
        self._warm_cache.clear()
        self._plan_cache.clear()

    def _answer_render(
        self, request: protocol.RenderRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        from fsgan_core.report.kept_looks import KeptLooks

        kept = KeptLooks()
        job = RenderJob(
            plan_request_job(request, self._device),
            force=request.force,
            on_event=on_event,
            on_picture=kept.keep if request.report else None,
            is_cancelled=is_cancelled,
            warm=self._warm_cache,
        )
        if request.report and job.plan.stage != "final":
            raise ShotError(f"a report needs a finished picture; the stage {request.stage} makes none")
        result = job.run()
        self._warm_cache.trim()
        data = result.to_dict()
        del data["frames"]
        if request.report:
            from fsgan_core.report.write import write_report

            shot = parse_request_shot(request)
            data["report"] = str(write_report(Path(request.report), shot, result, on_event, kept)[0])
        return data

    def _answer_keys(
        self, request: protocol.KeysRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        job = RenderJob(plan_request_job(request, self._device), is_cancelled=is_cancelled, warm=self._plan_cache)
        return summarise_states(job, compute_frame_states(job, is_cancelled))

    def _answer_analyse(
        self, request: protocol.AnalyseRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        if not request.output:
            raise ProtocolError("analyse: the output is missing")
        shot = Shot.from_dict({"source": "none", "target": request.clip, "output": "none", "stages": request.stages})

        def relay_event(event: Event) -> None:
            raise_if_cancelled(is_cancelled)
            on_event(event)

        return write_track(
            shot.target,
            Path(request.output),
            shot.stages,
            of_target=request.of_target,
            frames=request.frames,
            device=choose_device(request.device or self._device),
            on_event=relay_event,
        )

    def _answer_views(
        self, request: protocol.ViewsRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        from fsgan_core.report.view_map import make_view_map

        target = request.shot.get("target")
        shot = Shot.from_dict({**request.shot, "target": target or "none", "output": "none"})
        view_map = make_view_map(
            shot.source,
            shot.stages,
            shot.target if target else None,
            frames=request.frames or shot.frames,
            pictures=request.pictures,
            device=choose_device(request.device or self._device),
            on_event=on_event,
            is_cancelled=is_cancelled,
        )
        return view_map.to_dict()

    def _answer_atlas(
        self, request: protocol.AtlasRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        from fsgan_core.render.bake_atlas import write_atlas

        if not request.output:
            raise ProtocolError("atlas: the output is missing")
        shot = Shot.from_dict({**request.shot, "target": request.shot.get("target") or "none", "output": "none"})

        def relay_event(event: Event) -> None:
            raise_if_cancelled(is_cancelled)
            on_event(event)

        return write_atlas(
            shot.source,
            request.output,
            shot.stages,
            device=choose_device(request.device or self._device),
            on_event=relay_event,
        )

    def _answer_draw_track(
        self, request: protocol.DrawTrackRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        from fsgan_core.report.track_drawing import write_drawings

        if not request.output:
            raise ProtocolError("draw_track: the output is missing")
        return write_drawings(
            request.track, request.output, request.person, on_event=on_event, is_cancelled=is_cancelled
        )

    def _answer_doctor(
        self, request: protocol.DoctorRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        from fsgan_core.doctor import describe_installation, examine_installation

        installation = examine_installation()
        return {**installation, "lines": list(describe_installation(installation))}

    def _answer_bundle(
        self, request: protocol.BundleRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        from fsgan_core.farm.bundle import write_bundle
        from fsgan_core.farm.nuke_bundle import make_script_bundle
        from fsgan_core.farm.template import FarmOptions

        if not request.output:
            raise ProtocolError("bundle: the output is missing")
        bundle = make_script_bundle(
            Path(request.script),
            FarmOptions(chunk=request.chunk, gpu=request.gpu),
            frames=request.frames,
            writes=request.writes,
            nuke=request.nuke,
        )
        return {
            **bundle.summarise(Path(request.output)),
            "files": [str(path) for path in write_bundle(bundle, Path(request.output))],
        }

    def _answer_farm_task(
        self, request: protocol.FarmTaskRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        from fsgan_core.farm.session import explain_refusal
        from fsgan_core.farm.task_runner import run_farm_task

        refusal = explain_refusal(request, self._variables)
        if refusal:
            raise SessionRefusedError(refusal)
        device = request.device or self._device
        data = run_farm_task(replace(request, device=device), on_event, is_cancelled, self._warm_cache)
        self._warm_cache.trim()
        return data

    def _answer_describe(
        self, request: protocol.DescribeRequest, on_event: EventListener, is_cancelled: CancelCheck
    ) -> dict[str, Any]:
        from fsgan_core.clips.presets import list_presets
        from fsgan_core.contract.licences import is_allowed
        from fsgan_core.networks.weights.catalogue import load_catalogue
        from fsgan_core.networks.weights.installed import list_present_weights
        from fsgan_core.render.engines import ENGINES, describe_missing, find_auto_engine

        engines: dict[str, dict[str, str]] = {}
        for engine in ENGINES:
            engines.setdefault(engine.stage, {})[engine.name] = describe_missing(engine, request.allow)
        present_weights = {weight.name: (weight, str(path)) for weight, path in list_present_weights()}
        weights = [
            *(weight for weight, _ in present_weights.values()),
            *(weight for name, weight in load_catalogue().items() if name not in present_weights),
        ]
        return {
            "version": __version__,
            "engines": engines,
            "auto": {stage: find_auto_engine(stage, request.allow) for stage in engines},
            "weights": [
                {
                    "name": weight.name,
                    "role": weight.role,
                    "licence": weight.licence,
                    "note": weight.note,
                    "default": weight.default,
                    "resolution": weight.resolution,
                    "installed": weight.name in present_weights,
                    "allowed": is_allowed(weight.licence, request.allow),
                    "path": present_weights.get(weight.name, (weight, ""))[1],
                }
                for weight in weights
            ],
            "presets": {
                preset.name: {"summary": preset.summary, "settings": dict(preset.settings)} for preset in list_presets()
            },
            "devices": list(list_devices()),
            "device": choose_device(self._device),
        }


def make_frame_path(request: protocol.ProtocolRequest, frame: int) -> str:
    """Returns the file that a render request's frame is written to; empty for other requests."""
    output = request.shot.get("output", "") if isinstance(request, protocol.RenderRequest) else ""
    pattern = output.get("path", "") if isinstance(output, Mapping) else output
    return str(format_output_path(str(pattern), frame)) if pattern else ""
