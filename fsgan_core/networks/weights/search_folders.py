"""The folders in which weights are searched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fsgan_core.runtime.user_paths import expand_home

PATH_VARIABLE = "FSGAN_WEIGHTS"  # folders of weights, separated as in PATH
PACKAGED_VARIABLE = "FSGAN_WEIGHTS_PACKAGED"  # 0: ignore the weights that come with the package
_task_folders: list[Path] = []  # of use_weights_folders


def find_user_folder() -> Path:
    """Returns this user's folder for weights. It need not exist."""
    import platformdirs

    return Path(platformdirs.user_data_dir("fsgan", appauthor=False)) / "weights"


@contextmanager
def use_weights_folders(folders: Sequence[Path]) -> Iterator[None]:
    """Searches these folders in place of $FSGAN_WEIGHTS while the block runs, in the whole process; none: no change."""
    before = list(_task_folders)
    _task_folders[:] = folders or before
    try:
        yield
    finally:
        _task_folders[:] = before


def list_search_folders() -> tuple[Path, ...]:
    """Lists the folders that are searched for weights, first to last. They need not exist.

    These are the folders of `use_weights_folders` or else $FSGAN_WEIGHTS (several are separated as in PATH), the user's
    folder, and the package's own unless FSGAN_WEIGHTS_PACKAGED is 0.
    """
    chosen = tuple(_task_folders) or tuple(
        expand_home(part) for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part.strip()
    )
    packaged = () if os.environ.get(PACKAGED_VARIABLE, "").strip() == "0" else (Path(__file__).parent,)
    return tuple(dict.fromkeys((*chosen, find_user_folder(), *packaged)))
