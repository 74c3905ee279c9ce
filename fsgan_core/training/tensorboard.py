"""Write curves and picture grids for TensorBoard, with tensorboardX (`pip install fsgan[train]`).

tensorboardX only writes the files; users install the viewer themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from fsgan_core.runtime.arrays import Image8

__all__ = ["TensorBoardWriter", "open_tensorboard"]

log = logging.getLogger(__name__)


class TensorBoardWriter:
    """Writes curves and pictures into a folder.

    Args:
        folder: The folder.
        step: The iteration that the run continues from; what an interrupted run wrote after it becomes void.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step or None, flush_secs=30)

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def write_picture_grid(self, step: int, picture: Image8) -> None:
        """Add a picture of the validation."""
        self._writer.add_image("validation/pictures", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write everything and close the file."""
        self._writer.close()


def open_tensorboard(folder: Path, step: int = 0) -> TensorBoardWriter | None:
    """Open a writer; without tensorboardX, log a warning and return None."""
    try:
        return TensorBoardWriter(folder, step)
    except ImportError:
        log.warning("no curves for TensorBoard: tensorboardX is not installed (pip install 'fsgan[train]')")
        return None
