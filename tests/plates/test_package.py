"""The package's public names."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fsgan_core import plates


def test_every_public_name_is_there() -> None:
    assert all(getattr(plates, name) is not None for name in plates.__all__)
    with pytest.raises(AttributeError, match="paint"):
        _ = plates.paint


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, fsgan_core.plates; print(*({'cv2', 'OpenImageIO', 'PyOpenColorIO'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_opencv_does_not_warn_even_if_it_is_loaded_first() -> None:
    code = (
        "import cv2, numpy as np; import fsgan_core.plates; "
        "cv2.GaussianBlur(np.zeros((64, 64, 3), np.float32), (5, 5), 1.0); print(cv2.ipp.useIPP())"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
