"""What a render tells while it runs, and what it hands back: plain frozen data, ready for JSON."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fsgan_core.contract.errors import CancelledError

__all__ = [
    "CancelCheck",
    "Event",
    "EventListener",
    "FrameReport",
    "RenderResult",
    "StageClock",
    "ignore_event",
    "never_cancelled",
    "raise_if_cancelled",
]

# What became of a frame.
RENDERED = "rendered"
KEPT = "kept"  # the file that was there is the right one
PASSED = "passed"  # no face: the plate unchanged
FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """One step of a long work.

    kind: "analyse" (reading a clip for its track), "unread" (a frame of it could not be read), "recognise" (finding
    where the source is recognised), "begin" (a frame is begun) or "frame" (a frame is done). subject: the clip's name
    or the command's. done of total: steps. For a frame: its number, what became of it, and the seconds it took.
    """

    kind: str
    subject: str
    done: int
    total: int
    frame: int | None = None
    state: str = ""
    seconds: float = 0.0
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        data = {"event": self.kind, "subject": self.subject, "done": self.done, "total": self.total}
        if self.frame is not None:
            data["frame"] = self.frame
        if self.kind == "frame":
            data |= {"state": self.state, "seconds": round(self.seconds, 4)}
        if self.message:
            data["message"] = self.message
        return data


EventListener = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """A listener for those who do not want to know."""


CancelCheck = Callable[[], bool]


def never_cancelled() -> bool:
    """Nobody asks for an end."""
    return False


def raise_if_cancelled(is_cancelled: CancelCheck) -> None:
    """Raises CancelledError when somebody has asked for an end."""
    if is_cancelled():
        raise CancelledError("cancelled; what was finished is kept, and the same job goes on from there")


@dataclass(frozen=True)
class FrameReport:
    """One frame of a result. seconds: by stage, of this frame alone. flags: "no-face", "pose-clamped", ..."""

    frame: int
    state: str
    path: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"frame": self.frame, "state": self.state, "path": self.path}
        if self.seconds:
            data["seconds"] = {stage: round(seconds, 4) for stage, seconds in self.seconds.items()}
        if self.flags:
            data["flags"] = list(self.flags)
        if self.message:
            data["message"] = self.message
        return data


@dataclass(frozen=True)
class RenderResult:
    """What a render did.

    command: "swap", "drive", "reenact", ... seconds: wall time by stage over all frames, and "total". engines: by
    stage, what ran. notes: things a person should know that are no failure.
    """

    command: str
    output: str
    colorspace: str
    frames: tuple[FrameReport, ...]
    seconds: Mapping[str, float]
    engines: Mapping[str, str]
    device: str = "cpu"
    notes: tuple[str, ...] = ()

    def list_frames(self, state: str) -> tuple[int, ...]:
        """Frame numbers in that state."""
        return tuple(report.frame for report in self.frames if report.state == state)

    @property
    def failures(self) -> tuple[tuple[int, str], ...]:
        return tuple((report.frame, report.message) for report in self.frames if report.state == FAILED)

    @property
    def flagged_frames(self) -> Mapping[str, tuple[int, ...]]:
        """Frame numbers by flag."""
        found: dict[str, list[int]] = {}
        for report in self.frames:
            for flag in report.flags:
                found.setdefault(flag, []).append(report.frame)
        return {flag: tuple(frames) for flag, frames in found.items()}

    def to_dict(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "output": self.output,
            "colorspace": self.colorspace,
            "device": self.device,
            "engines": dict(self.engines),
            "counts": {state: len(self.list_frames(state)) for state in (RENDERED, KEPT, PASSED, FAILED)},
            "passed": list(self.list_frames(PASSED)),
            "failed": [{"frame": frame, "message": message} for frame, message in self.failures],
            "flags": {flag: list(frames) for flag, frames in self.flagged_frames.items()},
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "notes": list(self.notes),
            "frames": [report.to_dict() for report in self.frames],
        }


class StageClock(threading.local):
    """Seconds by stage, added up, for each thread by itself. A stage inside another counts for itself alone.

    No stage is begun once `cancelled` says so: CancelledError is raised in its place.
    """

    def __init__(self, is_cancelled: CancelCheck = never_cancelled) -> None:
        self._is_cancelled = is_cancelled
        self.seconds: dict[str, float] = {}
        self._nested_seconds = [0.0]

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        raise_if_cancelled(self._is_cancelled)
        start = time.perf_counter()
        self._nested_seconds.append(0.0)
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent - self._nested_seconds.pop()
            self._nested_seconds[-1] += spent

    def take_seconds(self) -> dict[str, float]:
        """What was added since the last call."""
        taken, self.seconds = self.seconds, {}
        return taken
