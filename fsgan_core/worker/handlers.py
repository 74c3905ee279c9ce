"""A worker's requests as calls of the pipeline: what each one asks for, and its answer as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fsgan_core.clips.tracks import write_track
from fsgan_core.contract import protocol
from fsgan_core.contract.errors import ProtocolError, ShotError
from fsgan_core.contract.shot import Shot
from fsgan_core.contract.version import __version__
from fsgan_core.plates.sequence import output_path
from fsgan_core.render.frame_status import frame_states, states_data
from fsgan_core.render.requests import render_work, shot_of
from fsgan_core.render.warm_cache import Warm
from fsgan_core.runtime.device import available_devices, choose_device
from fsgan_core.runtime.events import Asked, Event, Listener, go_on

__all__ = ["Jobs", "frame_path"]

KNOWN = 16  # renders whose plans are kept for questions; they hold no pixels


class Jobs:
    """What a worker can do. device: for requests that name none.

    Renders and analyses come one at a time; questions, one at a time too, may come beside them.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._warm = Warm()
        self._known = Warm(count=KNOWN)
        self._doing: Mapping[type[protocol.Request], Callable[[Any, Listener, Asked], dict[str, Any]]] = {
            protocol.Render: self._render,
            protocol.Keys: self._keys,
            protocol.Analyse: self._analyse,
            protocol.Views: self._views,
            protocol.Doctor: self._doctor,
            protocol.Describe: self._describe,
            protocol.Bundle: self._bundle,
        }

    def answer(self, request: protocol.Request, listen: Listener, cancelled: Asked) -> dict[str, Any]:
        """Raises FsganError."""
        done = self._doing.get(type(request))
        if done is None:
            raise ProtocolError(f"{request.name} is not done by a worker")
        return done(request, listen, cancelled)

    def forget(self) -> None:
        """Gives back the memory of earlier renders."""
        self._warm.clear()
        self._known.clear()

    def _render(self, request: protocol.Render, listen: Listener, cancelled: Asked) -> dict[str, Any]:
        work = render_work(request, self._device, force=request.force, listen=listen, cancelled=cancelled,
                           warm=self._warm)
        if request.report and work.stage != "final":
            raise ShotError(f"a report is on a finished picture; {request.stage} makes none")
        result = work.run()
        self._warm.trim()
        data = result.to_dict()
        del data["frames"]
        if request.report:
            from fsgan_core.report.write import write_report

            data["report"] = str(write_report(Path(request.report), shot_of(request), result, listen)[0])
        return data

    def _keys(self, request: protocol.Keys, listen: Listener, cancelled: Asked) -> dict[str, Any]:
        work = render_work(request, self._device, cancelled=cancelled, warm=self._known)
        return states_data(work, frame_states(work, cancelled))

    def _analyse(self, request: protocol.Analyse, listen: Listener, cancelled: Asked) -> dict[str, Any]:
        if not request.output:
            raise ProtocolError("analyse: no output is named")
        shot = Shot.from_dict({"source": "none", "target": request.clip, "output": "none",
                               "stages": request.stages})

        def hear(event: Event) -> None:
            go_on(cancelled)
            listen(event)

        return write_track(shot.target, Path(request.output), shot.stages, of_target=request.of_target,
                           frames=request.frames, device=choose_device(request.device or self._device), listen=hear)

    def _views(self, request: protocol.Views, listen: Listener, cancelled: Asked) -> dict[str, Any]:
        from fsgan_core.report.view_map import view_map

        given = request.shot.get("target")
        shot = Shot.from_dict({**request.shot, "target": given or "none", "output": "none"})
        found = view_map(shot.source, shot.stages, shot.target if given else None, frames=request.frames or shot.frames,
                         pictures=request.pictures, device=choose_device(request.device or self._device),
                         listen=listen, cancelled=cancelled)
        return found.to_dict()

    def _doctor(self, request: protocol.Doctor, listen: Listener, cancelled: Asked) -> dict[str, Any]:
        from fsgan_core.doctor import examine, report_lines

        found = examine()
        return {**found, "lines": list(report_lines(found))}

    def _bundle(self, request: protocol.Bundle, listen: Listener, cancelled: Asked) -> dict[str, Any]:
        from fsgan_core.farm.bundle import write_bundle
        from fsgan_core.farm.nuke_bundle import make_script_bundle
        from fsgan_core.farm.template import FarmOptions

        if not request.output:
            raise ProtocolError("bundle: no output is named")
        made = make_script_bundle(Path(request.script), FarmOptions(chunk=request.chunk, gpu=request.gpu),
                                  frames=request.frames, writes=request.writes, nuke=request.nuke)
        return {**made.facts(Path(request.output)), "files": [str(path) for path in
                                                               write_bundle(made, Path(request.output))]}

    def _describe(self, request: protocol.Describe, listen: Listener, cancelled: Asked) -> dict[str, Any]:
        from fsgan_core.networks.weights.catalogue import catalogue, is_allowed, present
        from fsgan_core.render.engines import ENGINES, auto_engine, missing_of

        engines: dict[str, dict[str, str]] = {}
        for engine in ENGINES:
            engines.setdefault(engine.stage, {})[engine.name] = missing_of(engine, request.allow)
        there = {weight.name: (weight, str(path)) for weight, path in present()}
        weights = [*(weight for weight, _ in there.values()),
                   *(weight for name, weight in catalogue().items() if name not in there)]
        return {
            "version": __version__,
            "engines": engines,
            "auto": {stage: auto_engine(stage, request.allow) for stage in engines},
            "weights": [{"name": weight.name, "role": weight.role, "licence": weight.licence, "note": weight.note,
                         "default": weight.default, "resolution": weight.resolution,
                         "installed": weight.name in there, "allowed": is_allowed(weight.licence, request.allow),
                         "path": there.get(weight.name, (weight, ""))[1]}
                        for weight in weights],
            "devices": list(available_devices()),
            "device": choose_device(self._device),
        }


def frame_path(request: protocol.Request, frame: int) -> str:
    """The file that a request's frame is written to."""
    output = request.shot.get("output", "") if isinstance(request, protocol.Render) else ""
    pattern = output.get("path", "") if isinstance(output, Mapping) else output
    return str(output_path(str(pattern), frame)) if pattern else ""
