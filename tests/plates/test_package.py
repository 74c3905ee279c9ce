"""The package's public names."""

from __future__ import annotations

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
