"""Curves and picture grids for TensorBoard, through tensorboardX (`pip install fsgan[train]`): it writes the files
alone; the viewer, with its server, is the user's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

__all__ = ["TensorBoardWriter", "open_tensorboard"]

log = logging.getLogger(__name__)


class TensorBoardWriter:
    """Writes events into a folder; after a kill, what was written beyond `step` is said to be void."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step or None, flush_secs=30)

    def write_scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def write_picture_grid(self, step: int, picture: np.ndarray) -> None:
        """picture: uint8 (h, w, 3)."""
        self._writer.add_image("validation/pictures", picture, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


def open_tensorboard(folder: Path, step: int = 0) -> TensorBoardWriter | None:
    """None, and a word in the log, where tensorboardX is not installed."""
    try:
        return TensorBoardWriter(folder, step)
    except ImportError:
        log.warning("no curves for TensorBoard: tensorboardX is not installed (pip install 'fsgan[train]')")
        return None
