"""What a process that renders again and again keeps in memory between renders: plans of views, prepared source
pictures, plates.

Clips are opened anew for every render. What is kept is used again only where every file of every clip has the size,
time and inode that it had, and where what decides about it is the same. So an artist who changes one parameter waits
for what depends on it alone, and a plate that was replaced on disk is read again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.clips.inputs import Input, Inputs
from fsgan_core.render.frames import FrameMaker
from fsgan_core.render.scene import Scenes
from fsgan_core.runtime.cache import digest

__all__ = ["Warm", "state_of"]

KEPT = 4
LIMIT = 1536 << 20  # bytes of pixels, the newest one's among them


@dataclass(frozen=True)
class _Kept:
    planned: str  # digest of what decides about the scenes
    scenes: Scenes
    maker: FrameMaker


class Warm:
    """Scenes and makers of the last few renders, by the clips that they read. For one render at a time."""

    def __init__(self, limit: int = LIMIT, count: int = KEPT) -> None:
        self._limit = limit
        self._count = count
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def renewed(self, inputs: Inputs, kind: tuple[Any, ...], scenes: Callable[[], Scenes],
                maker: Callable[..., FrameMaker]) -> tuple[Scenes, FrameMaker]:
        """Scenes and maker of a render: new ones, with what earlier ones hold where it is still right.

        kind: what else decides about the scenes, beside the inputs. scenes(), maker(scenes, like): make new ones.
        """
        stages = inputs.stages
        clips = digest(*kind, [_clip_part(item) for item in (*inputs.sources, inputs.target)], inputs.working,
                       inputs.config.digest, inputs.device, stages.analyse.to_dict(), stages.colour.to_dict(),
                       stages.weights.to_dict(), state_of([stages.analyse.person_reference]))
        planned = digest(clips, stages.reenact.to_dict(), state_of([stages.reenact.recognition_file]),
                         stages.drive.to_dict())
        with self._lock:
            kept = self._kept.pop(clips, None)
        found = kept.scenes if kept is not None and kept.planned == planned else scenes()
        made = maker(found, kept.maker if kept is not None else None)
        with self._lock:
            self._kept[clips] = _Kept(planned, found, made)
        self.trim()
        return found, made

    def trim(self) -> None:
        """Gives back memory beyond the limit; of the newest nothing."""
        with self._lock:
            while len(self._kept) > 1 and (len(self._kept) > self._count or self.bytes > self._limit):
                self._kept.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()

    @property
    def bytes(self) -> int:
        return sum(kept.maker.bytes for kept in self._kept.values())


def _clip_part(item: Input) -> tuple[Any, ...]:
    sequence = item.sequence
    files = [sequence.path_of(frame) for frame in (sequence.frames if sequence.kind != "movie"
                                                   else sequence.frames[:1])]
    return (item.clip, item.space, item.channel, sequence.missing, list(sequence.frames), state_of(files),
            state_of([item.clip.track, item.clip.person]))


def state_of(files: Any) -> list[Any]:
    """Size, time and inode of each file; None for one that is not there."""
    return list(_states(files))


def _states(files: Any) -> Iterator[Any]:
    for file in files:
        try:
            state = Path(file).expanduser().stat() if str(file) else None
        except (OSError, RuntimeError, ValueError):
            state = None
        yield None if state is None else (str(file), state.st_size, state.st_mtime_ns, state.st_ino)
