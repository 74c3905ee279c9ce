"""Keeps what a report shows of a frame while the render still has the frame in memory.

Two HD frames as EXR files take a thirtieth of the time of their render to decompress. So a report after a render reads
only the frames that were not rendered just now, and those for which there was no room.
"""

from __future__ import annotations

import time
from threading import Lock

from fsgan_core.contract.layers import META_KEY
from fsgan_core.plates.exr_writer import LOSSLESS_COMPRESSIONS, round_as_written
from fsgan_core.plates.image_reader import read_frame_metadata
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.render.pipeline import RenderJob
from fsgan_core.report.looks import FrameLook, LookMaker, compute_look_margin

__all__ = ["KeptLooks"]

MAX_KEPT_BYTES = 256 << 20
"""Bytes in memory, at most: 30 to 60 frames of HD. Frames beyond are read from their files."""


class KeptLooks:
    """Looks of the frames of one render. `keep` is a render's `on_picture`; several threads may call it.

    Attributes:
        seconds: Processor time that they took so far: it belongs to the report's cost, not to the render's.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._maker: LookMaker | None = None
        self._looks: dict[int, FrameLook] = {}
        self._bytes = 0
        self.seconds = 0.0

    def keep(self, job: RenderJob, frame: int, plate: Plate) -> None:
        """Keeps the look of a finished frame, if there is room and its file will have the same pixels."""
        output = job.plan.inputs.stages.output
        if self._bytes > MAX_KEPT_BYTES or output.compression not in LOSSLESS_COMPRESSIONS:
            return
        start = time.thread_time()
        inputs = job.plan.inputs
        with self._lock:
            maker = self._maker = self._maker or LookMaker(
                inputs.config, inputs.target.space, compute_look_margin(inputs, job.plan.command)
            )
        target = job.renderer.get_target(job.plan.resolve_held_frame(frame)).original
        area = maker.find_area(target, plate.metadata)
        cut = plate if area.empty else round_as_written(plate.crop(area), output.depth)
        look = maker.make_look(frame, target, cut, inputs.output_space)
        with self._lock:
            self._looks[frame] = look
            self._bytes += look.nbytes
            self.seconds += time.thread_time() - start

    def take(self, frame: int, pattern: str) -> FrameLook | None:
        """Takes out the look of a frame, with the metadata of its file; None if it is not the look of that file.

        Raises:
            PlateError: The file cannot be read.
        """
        look = self._looks.pop(frame, None)
        if look is None:
            return None
        metadata = read_frame_metadata(format_output_path(pattern, frame))
        is_same = metadata.get(META_KEY) == look.metadata.get(META_KEY)
        return look.with_metadata(metadata) if is_same else None
