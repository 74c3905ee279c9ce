"""Which frames of a render are done, stale or missing, and what has changed.

The keys are those of the render. Nothing is analysed, and no pixels are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import FsganError, PlateError
from fsgan_core.contract.layers import META_KEY, META_PARTS
from fsgan_core.contract.protocol import FRAME_DONE, FRAME_MISSING, FRAME_STALE
from fsgan_core.plates.exr_checksum import find_obvious_damage
from fsgan_core.plates.image_reader import read_frame_metadata
from fsgan_core.plates.sequence import format_frames, format_output_path
from fsgan_core.render.changed_parts import describe_parts, find_changed_parts
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.runtime.cache import NotCachedError, use_cache_only
from fsgan_core.runtime.events import CancelCheck, never_cancelled, raise_if_cancelled
from fsgan_core.runtime.memory import register_cache
from fsgan_core.runtime.threads import limit_algebra_threads

__all__ = ["FrameState", "compute_frame_states", "summarise_states"]


@dataclass(frozen=True)
class FrameState:
    """The state of one frame.

    Attributes:
        frame: Frame number.
        state: "done", "stale" or "missing".
        changed: What has changed since a stale frame was rendered: parameters ("blend.mix") and names of
            `staleness.LABELS`.
    """

    frame: int
    state: str
    changed: tuple[str, ...] = ()


def compute_frame_states(job: RenderJob, is_cancelled: CancelCheck = never_cancelled) -> tuple[FrameState, ...]:
    """Computes the state of each frame of a job. Raises FsganError if something is wrong with all of them."""
    with limit_algebra_threads(), use_cache_only():
        return tuple(_iterate_states(job, is_cancelled))


def _iterate_states(job: RenderJob, is_cancelled: CancelCheck) -> Iterator[FrameState]:
    plan = job.plan
    for frame in plan.frames:
        raise_if_cancelled(is_cancelled)
        path = format_output_path(plan.output, frame)
        key_metadata = _read_key_metadata(path)
        if key_metadata is None:
            yield FrameState(frame, FRAME_MISSING)
            continue
        source = plan.resolve_held_frame(frame)
        try:
            if key_metadata["unreadable"]:
                yield FrameState(frame, FRAME_STALE, ("damaged",))
            elif key_metadata["key"] == job.compute_frame_key(source):
                damaged = key_metadata["damaged"]
                yield FrameState(frame, FRAME_STALE, ("damaged",)) if damaged else FrameState(frame, FRAME_DONE)
            else:
                yield FrameState(
                    frame, FRAME_STALE, find_changed_parts(key_metadata["parts"], job.compute_frame_parts(source))
                )
        except NotCachedError:
            yield FrameState(frame, FRAME_STALE, ("analysis",))
        except PlateError:
            yield FrameState(frame, FRAME_STALE, ("input",))


def summarise_states(job: RenderJob, states: tuple[FrameState, ...]) -> dict[str, Any]:
    """Summarises states as plain data for the protocol; frames as ranges."""
    changed: dict[tuple[str, ...], list[int]] = {}
    for status in states:
        if status.changed:
            changed.setdefault(status.changed, []).append(status.frame)
    ranges = {
        state: format_frames([status.frame for status in states if status.state == state], limit=0)
        for state in (FRAME_DONE, FRAME_STALE, FRAME_MISSING)
        if any(status.state == state for status in states)
    }
    return {
        **{state: ranges.get(state, "") for state in (FRAME_DONE, FRAME_STALE, FRAME_MISSING)},
        "total": len(states),
        "changed": [
            {"frames": format_frames(frames, limit=0), "parts": list(parts), "text": describe_parts(parts)}
            for parts, frames in changed.items()
        ],
        "analysed": not any("analysis" in status.changed for status in states),
        "output": job.plan.output,
    }


def _read_key_metadata(path: Path) -> Mapping[str, Any] | None:
    """The key and parts in a file's metadata; None if the file does not exist. Read once for each state of the file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return _read_header_cached(str(path), state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=20_000)
def _read_header_cached(path: str, *_state: int) -> Mapping[str, Any]:
    try:
        metadata = read_frame_metadata(Path(path))
    except FsganError:
        return {"unreadable": True}
    return {
        "unreadable": False,
        "damaged": bool(find_obvious_damage(Path(path))),
        "key": metadata.get(META_KEY),
        "parts": str(metadata.get(META_PARTS, "")),
    }


register_cache(_read_header_cached.cache_clear)
