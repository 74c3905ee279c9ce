"""Which frames of a render are done, stale or missing, and what has changed: by the same key as the render's, without
reading pixels and without analysing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import FsganError, PlateError
from fsgan_core.contract.layers import META_KEY, META_PARTS
from fsgan_core.contract.protocol import DONE, MISSING_FILE, STALE
from fsgan_core.plates.exr import read_header
from fsgan_core.plates.sequence import frames_text, output_path
from fsgan_core.render.keys import changed_parts, words_of
from fsgan_core.render.pipeline import Work
from fsgan_core.runtime.cache import NotKeptError, kept_alone
from fsgan_core.runtime.events import Asked, go_on, never
from fsgan_core.runtime.threads import one_thread_algebra

__all__ = ["FrameState", "frame_states", "states_data"]


@dataclass(frozen=True)
class FrameState:
    """changed: of a stale frame, the parts of its key that differ (see keyparts.WORDS; "blend.mix" is a parameter)."""

    frame: int
    state: str
    changed: tuple[str, ...] = ()


def frame_states(work: Work, cancelled: Asked = never) -> tuple[FrameState, ...]:
    """One for each frame of the work. Raises FsganError for what concerns them all (no face in the source, ...)."""
    with one_thread_algebra(), kept_alone():
        return tuple(_states(work, cancelled))


def _states(work: Work, cancelled: Asked) -> Iterator[FrameState]:
    for frame in work.frames:
        go_on(cancelled)
        path = output_path(work.output, frame)
        found = _said(path)
        if found is None:
            yield FrameState(frame, MISSING_FILE)
            continue
        source = work.held(frame)
        try:
            if found["damaged"]:
                yield FrameState(frame, STALE, ("damaged",))
            elif found["key"] == work.key(source):
                yield FrameState(frame, DONE)
            else:
                yield FrameState(frame, STALE, changed_parts(found["parts"], work.parts(source)))
        except NotKeptError:
            yield FrameState(frame, STALE, ("analysis",))
        except PlateError:
            yield FrameState(frame, STALE, ("input",))


def states_data(work: Work, states: tuple[FrameState, ...]) -> dict[str, Any]:
    """Plain data for the protocol; frames as ranges."""
    changed: dict[tuple[str, ...], list[int]] = {}
    for one in states:
        if one.changed:
            changed.setdefault(one.changed, []).append(one.frame)
    ranges = {state: frames_text([one.frame for one in states if one.state == state], limit=0) for state
              in (DONE, STALE, MISSING_FILE) if any(one.state == state for one in states)}
    return {
        **{state: ranges.get(state, "") for state in (DONE, STALE, MISSING_FILE)},
        "total": len(states),
        "changed": [{"frames": frames_text(frames, limit=0), "parts": list(parts), "text": words_of(parts)}
                    for parts, frames in changed.items()],
        "analysed": not any("analysis" in one.changed for one in states),
        "output": work.output,
    }


def _said(path: Path) -> Mapping[str, Any] | None:
    """What a file's metadata says; None where there is no file. Read once for each state of the file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return _header(str(path), state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=20_000)
def _header(path: str, *_state: int) -> Mapping[str, Any]:
    try:
        metadata = read_header(Path(path)).metadata
    except FsganError:
        return {"damaged": True}
    return {"damaged": False, "key": metadata.get(META_KEY), "parts": str(metadata.get(META_PARTS, ""))}
