"""Which source frames may be used as views, by the settings of the artist, and how views are named."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fsgan_core.contract.errors import NoFaceError, ParameterError
from fsgan_core.contract.params import ReenactParams
from fsgan_core.contract.view_grid import VIEW_EXCLUDED, VIEW_SPARE, VIEW_USED
from fsgan_core.faces.face import Face
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages.warp_points import Performer

MAX_VIEWS = 400  # that are considered, evenly spread over a long source
MAX_ARTIST_WEIGHT = 1e6


@dataclass(frozen=True, order=True)
class ViewRef:
    """Reference to a source frame.

    Attributes:
        clip: Number of the source clip in the shot, from 0.
        frame: Frame number.
    """

    clip: int
    frame: int


@dataclass(frozen=True)
class ViewChoice:
    """Whether a source frame is used as a view.

    Attributes:
        face: The face in it.
        state: VIEW_USED; VIEW_EXCLUDED by `reenact.views` or `reenact.exclude`; or VIEW_SPARE: left out because its
            face is interpolated, its picture is damaged, or the source has more than MAX_VIEWS frames.
        weight: The artist's preference.
    """

    face: Face
    state: str
    weight: float = 1.0


def choose_views(
    sources: Sequence[Performer], params: ReenactParams, names: Sequence[str]
) -> dict[ViewRef, ViewChoice]:
    """Choose the source frames to use as views; a setting for one frame does not change the choice of others.

    A view with pixels that are no numbers is used only if all have some, and then those with the fewest. A frame that
    cannot be decoded is never used.

    Arguments as for `plan_views`.

    Returns:
        Every source frame that shows the face, ascending.

    Raises:
        ParameterError: A setting names a view that does not exist.
    """
    everything = {
        ViewRef(clip, frame): face for clip, who in enumerate(sources) for frame, face in sorted(who.faces.items())
    }
    use = _find_named_views(params.views, everything, names, "views")
    damaged = {ViewRef(clip, frame) for clip, who in enumerate(sources) for frame in who.faults}
    leave = _find_named_views(params.exclude, everything.keys() | damaged, names, "exclude")
    preferred: dict[ViewRef, float] = {}
    for text in params.weights:
        name, _, value = text.rpartition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if not name or not 0 < weight < MAX_ARTIST_WEIGHT:
            raise ParameterError(f"reenact.weights: '{text}' is not FRAME=WEIGHT with a weight above 0")
        preferred.update(dict.fromkeys(_find_named_views((name,), everything, names, "weights"), weight))
    allowed = [ref for ref in everything if not use or ref in use]
    faults = {ref: sources[ref.clip].faults.get(ref.frame, 0.0) for ref in everything}
    readable = [ref for ref in allowed if faults[ref] < math.inf]
    seen = [ref for ref in readable if everything[ref].origin != "bridged"] or readable
    least = min((faults[ref] for ref in seen if ref not in leave), default=0.0)
    seen = [ref for ref in seen if faults[ref] <= least]
    used = {seen[index] for index in sample_evenly(len(seen), MAX_VIEWS)} | (preferred.keys() & set(seen))
    return {
        ref: ViewChoice(
            face,
            VIEW_EXCLUDED if ref in leave or (use and ref not in use) else VIEW_USED if ref in used else VIEW_SPARE,
            preferred.get(ref, 1.0),
        )
        for ref, face in everything.items()
    }


def list_used_views(
    sources: Sequence[Performer], params: ReenactParams, names: Sequence[str]
) -> dict[ViewRef, ViewChoice]:
    """List the views of `choose_views` that are used.

    Raises:
        NoFaceError: No view is left.
        ParameterError: A setting names a view that does not exist.
    """
    used = {ref: one for ref, one in choose_views(sources, params, names).items() if one.state == VIEW_USED}
    if not used:
        raise NoFaceError(
            "no source view is left: the source shows no face, reenact.views and reenact.exclude leave none, or those "
            "that are left cannot be read"
        )
    return used


def format_view_name(ref: ViewRef, names: Sequence[str]) -> str:
    """Name a view as `reenact.exclude` and the like take it.

    FRAME if there is one source clip, else CLIP:FRAME. CLIP is the clip's name, or its number from 1 if the name is not
    unique or would be misread.

    >>> format_view_name(ViewRef(1, 1042), ["day", "night"])
    'night:1042'
    """
    if len(names) == 1:
        return str(ref.frame)
    name = names[ref.clip]
    plain = names.count(name) == 1 and not set(name) & set(",=") and not name.isdecimal()
    return f"{name if plain else ref.clip + 1}:{ref.frame}"


_VIEW_PATTERN = re.compile(r"(?:(?P<clip>.+):)?(?P<first>-?\d+)(?:-(?P<last>-?\d+))?")


def _find_named_views(
    texts: Sequence[str], known: Collection[ViewRef], names: Sequence[str], where: str
) -> set[ViewRef]:
    views = set()
    for text in texts:
        match = _VIEW_PATTERN.fullmatch(text.strip())
        matching = set()
        if match is not None:
            first = int(match["first"])
            last = int(match["last"] or first)
            clips = _find_named_clips(match["clip"], names)
            matching = {ref for ref in known if ref.clip in clips and first <= ref.frame <= last}
        if not matching:
            raise ParameterError(
                f"reenact.{where}: no source view is called '{text}'; it is written FRAME, "
                f"FIRST-LAST or CLIP:FRAME, with CLIP one of {', '.join(names)} and a frame that "
                "shows the face"
            )
        views |= matching
    return views


def _find_named_clips(text: str | None, names: Sequence[str]) -> set[int]:
    """Numbers of the clips with a name; else by number from 1; all clips if `text` is None."""
    if text is None:
        return set(range(len(names)))
    return {clip for clip, name in enumerate(names) if name == text} or {
        clip for clip in range(len(names)) if str(clip + 1) == text
    }
