"""The menu beside the button Render: which frames a render makes.

This module does not import nuke: gizmos are generated from it.
"""

from __future__ import annotations

CURRENT_FRAME = "current frame"
RANGE = "range"
INPUT_RANGE = "input range"
FROM_HERE = "from here on"
SPARSE = "every 10th frame"
CUSTOM = "custom..."
FRAME_CHOICES = (CURRENT_FRAME, RANGE, INPUT_RANGE, FROM_HERE, SPARSE, CUSTOM)
SPARSE_STEP = 10

CHOICE_KNOB = "render_frames"
ALONE_KNOB = "render_alone"


def choose_frames(choice: str, range_frames: list[int], playhead: int) -> list[int]:
    """Chooses the frames of a look at a part of the range.

    Args:
        choice: FROM_HERE or SPARSE; every other choice gives the whole range.
        range_frames: Frames of the range, ascending.
        playhead: The viewer's frame.

    >>> choose_frames(FROM_HERE, [1001, 1002, 1003], 1002)
    [1002, 1003]
    >>> choose_frames(SPARSE, list(range(1001, 1025)), 1002)
    [1001, 1011, 1021]
    """
    if choice == FROM_HERE:
        return [frame for frame in range_frames if frame >= playhead]
    return range_frames[::SPARSE_STEP] if choice == SPARSE else range_frames


def format_frames(frames: list[int]) -> str:
    """Formats ascending frames as ranges.

    >>> format_frames([1001, 1002, 1003, 1010])
    '1001-1003,1010'
    """
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
