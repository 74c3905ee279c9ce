"""The messages to a worker, one class each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Type

from fsgan_core.contract.protocol.message import NO_REQUEST, ProtocolRequest

# States of a frame's file in the result of `keys`.
FRAME_DONE = "done"
FRAME_STALE = "stale"
FRAME_MISSING = "missing"

# Tasks of a farm's job, as `fsgan farm task` and FarmTaskRequest name them.
FARM_TASKS = (
    "analyse-source",
    "analyse-target",
    "finetune",
    "render",
    "report",
    "analyse-nodes",
    "render-nodes",
)


@dataclass(frozen=True)
class HelloRequest(ProtocolRequest):
    """Opens the conversation.

    Attributes:
        protocol: PROTOCOL_VERSION of the client.
        client: Name and version of the client, for the log.
        log_level: Lowest level of the log events to send: "debug", "info", "warning" or "error".
    """

    name = "hello"

    protocol: int = 0
    client: str = ""
    log_level: str = "info"


@dataclass(frozen=True)
class RenderRequest(ProtocolRequest):
    """Renders frames to files.

    Result: `RenderResult.to_dict` without its list of frames, which were sent one by one; and "report", the path of the
    page, if one was requested and written.

    Attributes:
        shot: As `Shot.to_dict` gives it. Paths should be absolute.
        stage: Empty for the whole job, or one stage: "reenact", "mask", "inpaint" or "blend". Then `shot.output` is the
            stage's output, and `shot.source` may be missing if the stage needs none.
        upstream: Files of the stages before it: stage -> clip (a path, or a table as in the shot).
        frames: Frame range; empty is the shot's.
        force: Render frames again even if they are up to date.
        device: Empty is the worker's.
        report: Folder for a report, as `--report`; empty writes none. Not for a stage before "blend".
    """

    name = "render"

    shot: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""
    upstream: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    force: bool = False
    device: str = ""
    report: str = ""


@dataclass(frozen=True)
class KeysRequest(ProtocolRequest):
    """Asks which frames of a render are done, stale or missing. The fields are those of RenderRequest.

    Nothing is analysed: if the analysis of a clip is not in the cache, frames that have a file count as stale.

    Result: {"done": "1001-1003", "stale": "1004", "missing": "1005-1010", "total": 10, "changed": [{"frames": "1004",
    "parts": ["blend.mix"], "text": "blend.mix"}], "analysed": true, "output": "..."}; frames as ranges.
    """

    name = "keys"

    shot: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""
    upstream: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    device: str = ""


@dataclass(frozen=True)
class AnalyseRequest(ProtocolRequest):
    """Analyses a clip and writes its track file.

    Result: the same as `fsgan analyse --json`.

    Attributes:
        clip: A table as in the shot.
        output: The track file.
        of_target: Whether the clip is a target; else it is a source.
        stages: Parameters as in the shot.
        frames: Frame range; empty is the whole clip.
        device: Empty is the worker's.
    """

    name = "analyse"

    clip: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    of_target: bool = True
    stages: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    device: str = ""


@dataclass(frozen=True)
class ViewsRequest(ProtocolRequest):
    """Asks for the appearance map of a shot's source, which the view map panel shows.

    Result: the same as `fsgan views --json`.

    Attributes:
        shot: Only `source`, `target` (optional) and `stages` are read.
        frames: Frame range of the target; empty is the shot's.
        pictures: Make small PNGs of the views, as files in the cache whose paths are in the result.
        device: Empty is the worker's.
    """

    name = "views"

    shot: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    pictures: bool = True
    device: str = ""


@dataclass(frozen=True)
class AtlasRequest(ProtocolRequest):
    """Writes the atlas of a shot's source to an EXR file.

    Result: the same as `fsgan atlas --json`.

    Attributes:
        shot: Only `source` and `stages` are read.
        output: The EXR file.
        device: Empty is the worker's.
    """

    name = "atlas"

    shot: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    device: str = ""


@dataclass(frozen=True)
class DrawTrackRequest(ProtocolRequest):
    """Draws a track: boxes, landmarks, mesh and pose, as the four channels of an EXR for each frame with a face.

    Result: {"output", "frames", "people"}, the last two as numbers.

    Attributes:
        track: The track file.
        output: Path pattern of the EXR files.
        person: The chosen person, as a clip's `person` in the shot; empty is the largest.
    """

    name = "draw_track"

    track: str = ""
    output: str = ""
    person: str = ""


@dataclass(frozen=True)
class DoctorRequest(ProtocolRequest):
    """Asks what is installed.

    Result: the same as `fsgan doctor --json`, and "lines", the same as text for a person.
    """

    name = "doctor"


@dataclass(frozen=True)
class DescribeRequest(ProtocolRequest):
    """Asks for engines, weights and devices, to fill menus.

    Result: {"engines": {stage: {name: what is missing, "" if it can run}}, best first; "auto": {stage: the engine that
    "auto" uses, "" for none}; "weights": [{"name", "role", "licence", "note", "default", "resolution", "installed",
    "allowed", "path"}]; "devices": [...]; "device": the worker's default; "version"}.

    Attributes:
        allow: As `weights.allow`.
    """

    name = "describe"

    allow: str = "any"


@dataclass(frozen=True)
class BundleRequest(ProtocolRequest):
    """Writes a render farm job of a Nuke script.

    Result: {"folder", "steps", "tasks", "notes", "files"}.

    Attributes:
        script: The Nuke script.
        output: Folder of the job.
        writes: Names of the Write nodes to execute; empty is all that are enabled.
        frames: Frame range of all of them; empty uses each node's own.
        chunk: Frames per task.
        gpu: Request machines with a GPU.
        nuke: Command that starts Nuke on the farm.
    """

    name = "bundle"

    script: str = ""
    output: str = ""
    writes: tuple[str, ...] = ()
    frames: str = ""
    chunk: int = 10
    gpu: bool = False
    nuke: str = "nuke"


@dataclass(frozen=True)
class FarmTaskRequest(ProtocolRequest):
    """One task of a farm's job, as `fsgan farm task` does it.

    Attributes:
        task: "render", "report", "analyse-target", ...: one of FARM_TASKS.
        shot: The bundle's shot file; for the tasks of a Nuke script, its nodes.json. An absolute path.
        work: Folder of tracks, times and the report. An absolute path.
        paths: Where things are on this machine, by name: "source.1", "target", "output", "weights.1", ...
        frames: Frame numbers and ranges; empty: those of the shot.
        number: Which source to analyse, from 1.
        iterations: Of fine-tuning.
        licence: Licence class of the source's footage, for fine-tuning.
        start: Weights that fine-tuning starts from.
        expect: Version, engines and weights of the machine that made the job; a machine with others refuses.
        device: Empty: the worker's.
        version: Version of fsgan of the client; a worker of another version refuses.
        variables: The client's environment variables that can change pixels; a worker with others refuses.

    Result: {"renders": [{"node": its name or "", "result": as `RenderResult.to_dict`}], "report": the page} for
    "render", "render-nodes" and "report"; {"facts": {...}} for the others. A refusal is an `error`,
    "SessionRefusedError".
    """

    name = "farm_task"

    task: str = ""
    shot: str = ""
    work: str = ""
    paths: Mapping[str, Any] = field(default_factory=dict)
    frames: str = ""
    number: int = 1
    iterations: int = 800
    licence: str = "unknown"
    start: str = ""
    expect: str = ""
    device: str = ""
    version: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CancelRequest(ProtocolRequest):
    """Cancels another request: at once if it waits, within a frame if it runs.

    That request is answered with an `error` of kind "CancelledError", this one with a result {"found": bool}.

    Attributes:
        target: Number of the request to cancel.
    """

    name = "cancel"

    target: int = NO_REQUEST


@dataclass(frozen=True)
class PingRequest(ProtocolRequest):
    """Asks whether the worker is alive."""

    name = "ping"


@dataclass(frozen=True)
class QuitRequest(ProtocolRequest):
    """Cancels all requests, answers, and ends the worker."""

    name = "quit"


REQUEST_TYPES: Mapping[str, Type[ProtocolRequest]] = {
    cls.name: cls
    for cls in (
        HelloRequest,
        RenderRequest,
        KeysRequest,
        AnalyseRequest,
        ViewsRequest,
        AtlasRequest,
        DrawTrackRequest,
        DoctorRequest,
        DescribeRequest,
        BundleRequest,
        FarmTaskRequest,
        CancelRequest,
        PingRequest,
        QuitRequest,
    )
}
QUEUED_REQUESTS = (  # run one at a time
    RenderRequest,
    AnalyseRequest,
    ViewsRequest,
    AtlasRequest,
    DrawTrackRequest,
    FarmTaskRequest,
)
