"""Frames of a track in which a face is doubtful, so that an artist can look at them.

This module does not import nuke.
"""

from __future__ import annotations

from fsgan_core.contract.errors import TrackError
from fsgan_nuke.tracks import read_track_data


def find_doubtful_frames(path: str, person: int, limit: float) -> dict[int, str]:
    """Finds the analysed frames in which a person's face is doubtful, with the reason.

    Args:
        path: The track file.
        person: Index of the person.
        limit: A lower confidence is doubtful.

    Raises:
        TrackError: There is no file, or it is no track.
    """
    data = read_track_data(path)
    try:
        analysed = [frame for first, last in data["frames"] for frame in range(first, last + 1)]
        faces = next(one["faces"] for one in data["people"] if int(one["index"]) == person)
        reasons = {}
        for frame in analysed:
            face = faces.get(str(frame))
            if face is None:
                reasons[frame] = "no face"
            elif face["origin"] == "bridged":
                reasons[frame] = "the face is hidden, its place is interpolated"
            elif float(face["confidence"]) < limit:
                reasons[frame] = f"confidence {float(face['confidence']):.2f}"
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise TrackError(f"{path} is no track file of this version; analyse the clip again") from error
    return reasons
