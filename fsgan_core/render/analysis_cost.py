"""Says what the analysis of a whole clip costs if only a few of its frames are rendered."""

from __future__ import annotations

import logging
import time

from fsgan_core.runtime.events import Event

__all__ = ["AnalysisCost"]

log = logging.getLogger(__name__)

LONG_CLIP = 100  # frames: the analysis of a shorter clip needs no explanation
FEW_FRAMES = 10  # the rendered frames are few if the analysed ones are at least this many times as many
TIMED_FRAMES = 10  # whose time tells how long the others will take; the first one is not counted, it loads networks


class AnalysisCost:
    """Follows the events of an analysis, and logs its cost once.

    Args:
        target: Name of the target, as in the events.
        rendered: Number of frames to render.
        can_be_quick: Whether the command has a quick look to offer.
    """

    def __init__(self, target: str, rendered: int, can_be_quick: bool = True) -> None:
        self._target = target
        self._rendered = rendered
        self._advice = " For a look without it, render with --quick" if can_be_quick else ""
        self._start: float | None = None
        self._is_told = False

    def follow(self, event: Event) -> None:
        """Takes an event of the job."""
        if self._is_told or event.kind != "analyse" or event.subject != self._target:
            return
        if event.total < max(LONG_CLIP, FEW_FRAMES * self._rendered):
            return
        if self._start is None:
            self._start = time.monotonic()
        elif event.done > TIMED_FRAMES:
            self._is_told = True
            seconds = (time.monotonic() - self._start) / TIMED_FRAMES * event.total
            frames = "1 frame" if self._rendered == 1 else f"{self._rendered} frames"
            log.warning(
                "%d frames of %s are analysed to render %s, so that a frame looks the same whichever others are "
                "rendered. This takes about %s, once: the track is kept for the next render.%s",
                event.total,
                event.subject,
                frames,
                _format_time(seconds),
                self._advice,
            )


def _format_time(seconds: float) -> str:
    """A time as people say it: seconds up to two minutes, else minutes."""
    return f"{max(1, round(seconds))} s" if seconds < 120 else f"{round(seconds / 60)} minutes"
