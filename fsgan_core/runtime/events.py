"""Events of a running render and its result, as frozen plain data that converts to JSON."""

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

# States of a finished frame.
RENDERED = "rendered"
KEPT = "kept"  # its file was already up to date
PASSED = "passed"  # no face: the plate is passed through
FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """One step of a long job.

    Attributes:
        kind: "analyse" (a clip is read for its track), "unread" (a frame of it could not be read), "begin" (a
            frame begins) or "frame" (a frame is finished).
        subject: Name of the clip or the command.
        done: Finished steps.
        total: All steps.
        frame: Number of the frame, if the event is about one.
        state: "rendered", "kept", "passed" or "failed", if kind is "frame".
        seconds: Time that the frame took.
        message: Text for a person.
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
        """Converts to plain data, for JSON."""
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
    """Listener that does nothing."""


CancelCheck = Callable[[], bool]


def never_cancelled() -> bool:
    """Cancel check that always says no."""
    return False


def raise_if_cancelled(is_cancelled: CancelCheck) -> None:
    """Raises CancelledError if the check says that the work is cancelled."""
    if is_cancelled():
        raise CancelledError("cancelled; finished frames are kept, and the same job continues after them")


@dataclass(frozen=True)
class FrameReport:
    """One frame of a result.

    Attributes:
        frame: Its number.
        state: "rendered", "kept", "passed" or "failed".
        path: Its file.
        seconds: Stage -> time that this frame took.
        flags: Reasons to look at the frame: "no-face", "pose-clamped", ...
        message: Why it failed.
    """

    frame: int
    state: str
    path: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data, for JSON."""
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
    """Result of a render.

    Attributes:
        command: "swap", "drive", "reenact", ...
        output: Pattern of the files.
        colorspace: OCIO space of the pixels.
        frames: One report per frame.
        seconds: Stage -> wall time over all frames, and "total".
        engines: Stage -> the engine that ran.
        device: Device of the networks.
        notes: Remarks that are no failures.
        skipped: Frames that are left out because the target has no file there.
    """

    command: str
    output: str
    colorspace: str
    frames: tuple[FrameReport, ...]
    seconds: Mapping[str, float]
    engines: Mapping[str, str]
    device: str = "cpu"
    notes: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RenderResult:
        """Makes a result of what `to_dict` returned."""
        frames = tuple(
            FrameReport(
                one["frame"],
                one["state"],
                one["path"],
                one.get("seconds", {}),
                tuple(one.get("flags", ())),
                one.get("message", ""),
            )
            for one in data["frames"]
        )
        return cls(
            data["command"],
            data["output"],
            data["colorspace"],
            frames,
            data["seconds"],
            data["engines"],
            data["device"],
            tuple(data["notes"]),
            tuple(data.get("skipped", ())),
        )

    def list_frames(self, state: str) -> tuple[int, ...]:
        """Lists the numbers of frames in a state."""
        return tuple(report.frame for report in self.frames if report.state == state)

    @property
    def failures(self) -> tuple[tuple[int, str], ...]:
        """Frame number and message of each failed frame."""
        return tuple((report.frame, report.message) for report in self.frames if report.state == FAILED)

    @property
    def flagged_frames(self) -> Mapping[str, tuple[int, ...]]:
        """Flag -> numbers of the frames that have it."""
        frames_by_flag: dict[str, list[int]] = {}
        for report in self.frames:
            for flag in report.flags:
                frames_by_flag.setdefault(flag, []).append(report.frame)
        return {flag: tuple(frames) for flag, frames in frames_by_flag.items()}

    def to_dict(self) -> dict[str, Any]:
        """Converts to plain data, for JSON."""
        return {
            "command": self.command,
            "output": self.output,
            "colorspace": self.colorspace,
            "device": self.device,
            "engines": dict(self.engines),
            "counts": {
                **{state: len(self.list_frames(state)) for state in (RENDERED, KEPT, PASSED, FAILED)},
                "no_face": len(self.flagged_frames.get("no-face", ())),  # passed now, or in the render that is kept
                "skipped": len(self.skipped),
            },
            "passed": list(self.list_frames(PASSED)),
            "skipped": list(self.skipped),
            "failed": [{"frame": frame, "message": message} for frame, message in self.failures],
            "flags": {flag: list(frames) for flag, frames in self.flagged_frames.items()},
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "notes": list(self.notes),
            "frames": [report.to_dict() for report in self.frames],
        }


class StageClock(threading.local):
    """Adds up the time of each stage, separately for each thread. Time in a nested stage counts for that stage only.

    Args:
        is_cancelled: Checked before each stage begins.
    """

    def __init__(self, is_cancelled: CancelCheck = never_cancelled) -> None:
        self._is_cancelled = is_cancelled
        self.seconds: dict[str, float] = {}
        self._nested_seconds = [0.0]

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Counts the time of the block for `stage`. Raises CancelledError before the block if the work is cancelled."""
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
        """Gives stage -> seconds since the last call, and starts again from zero."""
        taken, self.seconds = self.seconds, {}
        return taken
