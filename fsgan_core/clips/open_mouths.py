"""Warns of a source whose mouth is open in every picture."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from fsgan_core.faces.face import Face
from fsgan_core.stages.features.openings import measure_lip_opening

__all__ = ["warn_of_open_mouths"]

log = logging.getLogger(__name__)

OPEN_MOUTH = 0.08  # opening of the lips over the distance of the outer eye corners: teeth and tongue are in sight


def warn_of_open_mouths(sources: Sequence[tuple[str, Mapping[int, Face], float]]) -> None:
    """Logs a warning if no picture of the sources shows a mouth that is about shut.

    Call it when a source was just analysed, not for each render: it is said once.

    Args:
        sources: Of each, its path, its faces by frame, and the width of a pixel over its height. Those without a face
            do not count.
    """
    with_face = [source for source in sources if source[1]]
    openings = (
        measure_lip_opening(face.get_mesh(aspect), aspect) for _, faces, aspect in with_face for face in faces.values()
    )
    if with_face and all(opening > OPEN_MOUTH for opening in openings):
        log.warning(
            "the mouth is open in every picture of the source (%s); where the target's is shut, its lips are "
            "drawn from an open mouth and may look wrong. Add a picture with a shut mouth",
            ", ".join(path for path, _, _ in with_face),
        )
