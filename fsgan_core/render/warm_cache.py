"""What a process keeps in memory between renders: plans of views, prepared source pictures, plates.

Clips are opened again for every render. What is kept is used again only if every file of every clip still has its size,
time and inode, and if everything else that it depends on is the same. So after a change of one parameter an artist
waits only for what depends on it, and a plate that was replaced on disk is read again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.clips.inputs import ClipInput
from fsgan_core.render.frames import FrameRenderer
from fsgan_core.render.plan import RenderPlan
from fsgan_core.render.scene import JobScenes
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.user_paths import expand_home

__all__ = ["WarmCache", "read_file_states"]

MAX_KEPT_RENDERS = 4
MAX_KEPT_BYTES = 1536 << 20  # of pixels


@dataclass(frozen=True)
class _KeptRender:
    plan_digest: str  # of what the scenes depend on
    scenes: JobScenes
    renderer: FrameRenderer


class WarmCache:
    """Scenes and renderers of the last few renders, by the clips that they read. For one render at a time.

    Args:
        limit: Bytes of pixels to keep, including those of the newest render.
        count: Renders to keep.
    """

    def __init__(self, limit: int = MAX_KEPT_BYTES, count: int = MAX_KEPT_RENDERS) -> None:
        self._max_bytes = limit
        self._max_count = count
        self._kept_renders: OrderedDict[str, _KeptRender] = OrderedDict()
        self._lock = threading.Lock()

    def renew(
        self,
        plan: RenderPlan,
        make_scenes: Callable[[], JobScenes],
        make_renderer: Callable[[JobScenes, FrameRenderer | None], FrameRenderer],
    ) -> tuple[JobScenes, FrameRenderer]:
        """Makes the scenes and the renderer of a render; reuses what earlier renders hold if it is still valid.

        Args:
            plan: The render.
            make_scenes: Makes new scenes.
            make_renderer: Makes a renderer with these scenes, sharing the memory of another one.
        """
        inputs, stages = plan.inputs, plan.inputs.stages
        clips = compute_digest(
            plan.job,
            plan.needs_views,
            [_make_clip_part(clip_input) for clip_input in (*inputs.sources, inputs.target)],
            inputs.working_space,
            inputs.config.compute_digest(
                inputs.working_space, inputs.target.space, *(source.space for source in inputs.sources)
            ),
            inputs.device,
            stages.analyse.to_dict(),
            stages.colour.to_dict(),
            stages.weights.to_dict(),
            read_file_states([stages.analyse.person_reference]),
        )
        plan_digest = compute_digest(
            clips, stages.reenact.to_dict(), stages.drive.to_dict(), read_file_states([stages.reenact.atlas])
        )
        with self._lock:
            kept_render = self._kept_renders.pop(clips, None)
        scenes = (
            kept_render.scenes if kept_render is not None and kept_render.plan_digest == plan_digest else make_scenes()
        )
        renderer = make_renderer(scenes, kept_render.renderer if kept_render is not None else None)
        with self._lock:
            self._kept_renders[clips] = _KeptRender(plan_digest, scenes, renderer)
        self.trim()
        return scenes, renderer

    def trim(self) -> None:
        """Frees memory beyond the limit, but always keeps the newest render."""
        with self._lock:
            while len(self._kept_renders) > 1 and (
                len(self._kept_renders) > self._max_count or self.used_bytes > self._max_bytes
            ):
                self._kept_renders.popitem(last=False)

    def clear(self) -> None:
        """Frees everything."""
        with self._lock:
            self._kept_renders.clear()

    @property
    def used_bytes(self) -> int:
        """Bytes of pixels that are kept."""
        return sum(kept_render.renderer.used_bytes for kept_render in self._kept_renders.values())


def _make_clip_part(clip_input: ClipInput) -> tuple[Any, ...]:
    sequence = clip_input.sequence
    files = [
        sequence.get_frame_path(frame)
        for frame in (sequence.frames if sequence.kind != "movie" else sequence.frames[:1])
    ]
    return (
        clip_input.clip,
        clip_input.space,
        clip_input.channel,
        sequence.missing_policy,
        list(sequence.frames),
        read_file_states(files),
        read_file_states([clip_input.clip.track, clip_input.clip.person]),
    )


def read_file_states(files: Iterable[str | Path]) -> list[tuple[str, int, int, int] | None]:
    """Reads path, size, time and inode of each file; None for a file that does not exist."""
    return list(_iterate_file_states(files))


def _iterate_file_states(files: Iterable[str | Path]) -> Iterator[tuple[str, int, int, int] | None]:
    for file in files:
        try:
            state = expand_home(file).stat() if str(file) else None
        except (OSError, RuntimeError, ValueError):
            state = None
        yield None if state is None else (str(file), state.st_size, state.st_mtime_ns, state.st_ino)
