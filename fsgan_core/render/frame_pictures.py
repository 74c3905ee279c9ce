"""What a renderer hands on for a frame: the target as read, what the stages before blend made, the result of blend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fsgan_core.plates.kept_chunks import FileState, UnchangedRows, find_changed_rows
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import Matte

__all__ = ["BlendResult", "StagePictures", "TargetFrame"]


@dataclass(frozen=True)
class TargetFrame:
    """One frame of the target.

    Attributes:
        original: As in the file.
        plate: The same with R, G, B in the working space; it is `original` itself if the file is in that space.
        path: The file, if it is an EXR.
        state: Of that file, when it was read.
    """

    original: Plate
    plate: Plate
    path: Path | None = None
    state: FileState | None = None

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.plate.pixels.nbytes + (self.original.pixels.nbytes if self.original is not self.plate else 0)

    def find_unchanged_rows(self, result: Plate) -> UnchangedRows | None:
        """Finds the rows of a result that are still those of the file; None if the file is none that can be used."""
        if self.path is None or self.state is None or result.channels != self.original.channels:
            return None
        return UnchangedRows(self.path, self.state, find_changed_rows(self.original.pixels, result.pixels))


@dataclass(frozen=True)
class BlendResult:
    """The result of the last stage.

    Attributes:
        plate: The whole target with the new face, in the working space.
        matte: Share of the new face in each pixel, on `region`.
        region: The window in which the stages worked.
    """

    plate: Plate
    matte: Matte
    region: Window


@dataclass(frozen=True)
class StagePictures:
    """What the stages before blend made of a frame.

    Attributes:
        reenacted: The picture of `reenact`; None if `inpaint` was read from files.
        mattes: The picture of `mask`.
        completed: The picture of `inpaint`.
    """

    reenacted: Plate | None
    mattes: Plate
    completed: Plate

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        plates = (self.reenacted, self.mattes, self.completed)
        return sum(plate.pixels.nbytes for plate in plates if plate is not None)
