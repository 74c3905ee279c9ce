"""Which pictures of a source are damaged. They are found before views are chosen, so that others are used."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from fsgan_core.clips.picture_faults import get_picture_fault
from fsgan_core.contract.errors import ParameterError
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.view_grid import VIEW_EXCLUDED, VIEW_SPARE, VIEW_USED
from fsgan_core.plates.sequence import format_frames, format_output_path
from fsgan_core.render.source_clip import SourceClip
from fsgan_core.stages.allowed_views import ViewChoice, ViewRef, choose_views
from fsgan_core.stages.reenactment import VIEW_MARGIN

__all__ = ["describe_source_faults", "find_source_faults"]

log = logging.getLogger(__name__)

MAX_FACELESS_FRAMES = 100  # of a clip, that are decoded only to tell which of them cannot be


def find_source_faults(clips: Sequence[SourceClip], params: ReenactParams) -> tuple[SourceClip, ...]:
    """Finds the damaged frames among those that would be used as views, and warns of them.

    Frames that the artist excludes are not read. Those whose face is interpolated or not found are decoded as well,
    since a damaged file is the usual reason for it.

    Args:
        clips: The sources of a swap.
        params: Settings of the reenact stage.

    Returns:
        The sources with their faults, and with the frames that are not looked at.
    """
    clips = tuple(_find_unread_frames(clip) for clip in clips)
    known: dict[ViewRef, float] = {}
    while True:
        choices = _choose_views(clips, params)
        asked = [ref for ref, one in choices.items() if ref not in known and _is_in_question(one)]
        if not asked:
            break
        for ref in asked:
            known[ref] = get_picture_fault(clips[ref.clip].clip_input, ref.frame, choices[ref].face, VIEW_MARGIN)
            clips = _add_fault(clips, ref, known[ref]) if known[ref] else clips
    for text in describe_source_faults(clips, choices):
        _warn_once(text)
    return tuple(
        replace(
            clip,
            unused_frames=frozenset(
                ref.frame
                for ref, one in choices.items()
                if ref.clip == number
                and (one.state == VIEW_EXCLUDED or (one.state == VIEW_SPARE and ref.frame in clip.performer.faults))
            ),
        )
        for number, clip in enumerate(clips)
    )


def describe_source_faults(clips: Sequence[SourceClip], choices: Mapping[ViewRef, ViewChoice]) -> Iterator[str]:
    """Describes the damaged frames of sources, for a person.

    Args:
        clips: With their faults.
        choices: The views that are used.
    """
    for number, clip in enumerate(clips):
        faults = clip.performer.faults
        unread = sorted(frame for frame, fault in faults.items() if fault == math.inf)
        if unread:
            sequence, first = clip.clip_input.sequence, unread[0]
            path = (
                sequence.get_frame_path(first)
                if first in sequence.frames
                else format_output_path(sequence.clip.path, first)
            )
            yield (
                f"{path}{' and others' if len(unread) > 1 else ''} cannot be read: {_name_frames(unread)} left out of "
                "the source"
            )
        bad = sorted(frame for frame, fault in faults.items() if fault < math.inf)
        used = [frame for frame in bad if choices[ViewRef(number, frame)].state == VIEW_USED]
        left = [frame for frame in bad if frame not in used]
        what = f"the source {clip.clip_input.clip.path} has NaN or infinite pixels around the face in"
        if left:
            yield f"{what} {format_frames(left)}; {_name_frames(left)} not used as a view"
        if used:
            yield (
                f"{what} {format_frames(used)}; {_name_frames(used)} used, since no view is without, and these pixels "
                "are replaced by their neighbours. Look at the face at 100 %, or mend the source"
            )


def _name_frames(frames: Sequence[int]) -> str:
    """Names frames as the subject of a sentence, with its verb."""
    return f"{'frame' if len(frames) == 1 else 'frames'} {format_frames(frames)} {'is' if len(frames) == 1 else 'are'}"


def _find_unread_frames(clip: SourceClip) -> SourceClip:
    """Finds the frames without a face that cannot be decoded, if these frames are few."""
    faces = clip.performer.faces
    faceless = [frame for frame in clip.analysed_frames if frame not in faces] if faces else []
    if len(faceless) > MAX_FACELESS_FRAMES:
        return clip
    faults = {frame: math.inf for frame in faceless if get_picture_fault(clip.clip_input, frame)}
    return replace(clip, performer=replace(clip.performer, faults=faults))


def _add_fault(clips: tuple[SourceClip, ...], ref: ViewRef, fault: float) -> tuple[SourceClip, ...]:
    performer = clips[ref.clip].performer
    changed = replace(clips[ref.clip], performer=replace(performer, faults={**performer.faults, ref.frame: fault}))
    return (*clips[: ref.clip], changed, *clips[ref.clip + 1 :])


def _is_in_question(choice: ViewChoice) -> bool:
    """Whether the picture of a view must be sound."""
    return choice.state == VIEW_USED or (choice.state == VIEW_SPARE and choice.face.origin == "bridged")


def _choose_views(clips: Sequence[SourceClip], params: ReenactParams) -> dict[ViewRef, ViewChoice]:
    """The views by the artist's settings; without them if they name none, which is an error once views are planned."""
    performers, names = [clip.performer for clip in clips], [clip.clip_input.name for clip in clips]
    try:
        return choose_views(performers, params, names)
    except ParameterError:
        return choose_views(performers, params.replace(views=(), exclude=(), weights=()), names)


@cache
def _warn_once(text: str) -> None:
    """Logs a warning once in a process: a render, its report and its view map open the same sources."""
    log.warning("%s", text)
