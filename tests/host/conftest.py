"""A host for each test, and gizmos made for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

from tests.host import Host, new_host

GIZMO = """Gizmo {
 help "Lays A over B."
 addUserKnob {20 Test}
 addUserKnob {7 mix l Mix t "0 is B." R 0 1}
 mix 1
 addUserKnob {6 swap l "swap inputs" +STARTLINE}
 addUserKnob {41 operation T Merge1.operation}
}
 Input {
  inputs 0
  name A
  number 1
 }
 Input {
  inputs 0
  name B
 }
 Merge2 {
  inputs 2
  mix {{parent.mix}}
  name Merge1
  disable {{"parent.swap ? 1 : 0"}}
 }
 Output {
  name Output1
 }
end_group
"""


@pytest.fixture
def host() -> Iterator[Host]:
    """An artist's session, installed as `nuke`."""
    with new_host() as session:
        yield session


@pytest.fixture
def with_gizmo(host: Host, tmp_path: Path) -> Host:
    """The session with TestOver.gizmo on its plugin path."""
    (tmp_path / "TestOver.gizmo").write_text(GIZMO, encoding="utf-8")
    host.plugin_path.append(tmp_path)
    return host


@pytest.fixture
def sequence(tmp_path: Path) -> Callable[..., str]:
    """sequence(frames): an EXR of 8 x 6 for each, filled with frame / 1000; the path with %04d."""

    def make(frames: list[int], *, x: int = 0, y: int = 0, width: int = 8, height: int = 6) -> str:
        for frame in frames:
            spec = oiio.ImageSpec(width, height, 4, "float")
            spec.x, spec.y, spec.full_width, spec.full_height = x, y, 8, 6
            spec.attribute("fsgan/key", f"key{frame}")
            output: Any = oiio.ImageOutput.create("openexr")
            assert output.open(str(tmp_path / f"plate.{frame:04d}.exr"), spec)
            output.write_image(np.full((height, width, 4), frame / 1000, np.float32))
            output.close()
        return (tmp_path / "plate.%04d.exr").as_posix()

    return make
