"""Stereo views and proxy mode, as Foundry's guides describe them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from tests.host import Host, new_host
from tests.host.test_pictures import SMALL, constant, value


@pytest.fixture
def stereo(host: Host) -> Host:
    host.set_views("left", "right")
    return host


def test_views_of_a_script(host: Host) -> None:
    assert host.module.views() == ["main"]
    host.set_views("left", "right")
    assert host.module.views() == ["left", "right"]


def test_knobs_are_split_by_view_and_saved(stereo: Host, tmp_path: Path) -> None:
    node = stereo.module.nodes.Transform()
    knob = node["translate"]
    knob.splitView("right")
    knob.setValue(1, 0)
    knob.setValue(3, 0, view="right")
    knob.setAnimated(1, view="right")
    knob.setValueAt(80, 1, 1, "right")
    knob.setValueAt(110, 100, 1, "right")
    assert (knob.valueAt(50, 0), knob.valueAt(50, 0, "left"), knob.valueAt(50, 0, "right")) == (1, 1, 3)
    assert not knob.isAnimated(1) and knob.isAnimated(1, "right") and knob.animation(1, "right").size() == 2
    stereo.module.scriptSaveAs((tmp_path / "a.nk").as_posix())
    with new_host("-t") as other:
        other.module.scriptOpen((tmp_path / "a.nk").as_posix())
        again = other.module.toNode(node.name())["translate"]
        assert other.module.views() == ["left", "right"]
        assert (again.valueAt(1, 0), again.valueAt(100, 1, "right")) == (1, 110)


def test_paths_and_nodes_by_view(stereo: Host, tmp_path: Path) -> None:
    nodes = stereo.module.nodes
    for view, amount in (("left", 0.25), ("r", 0.5)):
        write = nodes.Write(
            inputs=[constant(stereo, amount, 0, 0, 1)], file=f"{tmp_path.as_posix()}/{view}.%04d.exr", file_type="exr"
        )
        stereo.module.execute(write, 1, 1, 1, ["left"])
    (tmp_path / "right.0001.exr").write_bytes((tmp_path / "r.0001.exr").read_bytes())
    read = nodes.Read(file=f"{tmp_path.as_posix()}/%V.%04d.exr")
    join = nodes.JoinViews(inputs=[constant(stereo, 1, 0, 0, 1), constant(stereo, 2, 0, 0, 1)])
    one = nodes.OneView(inputs=[read], view="right")
    for view, amounts in (("left", (0.25, 1, 0.5)), ("right", (0.5, 2, 0.5))):
        assert [stereo.picture(node, 1, view).planes["rgba.red"].max() for node in (read, join, one)] == list(amounts)
    both = nodes.Write(inputs=[join], file=f"{tmp_path.as_posix()}/out.%v.%04d.exr", file_type="exr")
    both["views"].setValue("left right")
    stereo.module.execute(both, 3, 3)
    assert {path.name for path in tmp_path.glob("out.*")} == {"out.l.0003.exr", "out.r.0003.exr"}


def test_two_views_in_one_file(stereo: Host, tmp_path: Path) -> None:
    spec = oiio.ImageSpec(8, 6, 2, "float")
    spec.channelnames = ("R", "right.R")
    spec.attribute("multiView", "string[2]", ("left", "right"))
    output = oiio.ImageOutput.create("openexr")
    assert output.open(str(tmp_path / "two.exr"), spec)
    output.write_image(np.stack([np.full((6, 8), 0.25), np.full((6, 8), 0.5)], -1).astype(np.float32))
    output.close()
    read = stereo.module.nodes.Read(file=(tmp_path / "two.exr").as_posix())
    assert [stereo.picture(read, 1, view).planes["rgba.red"].max() for view in ("left", "right")] == [0.25, 0.5]


def test_proxy_mode_scales_pictures_and_positions(host: Host, sequence: Callable[..., str]) -> None:
    nodes, root = host.module.nodes, host.module.root()
    read = nodes.Read(file=sequence([1]))
    cropped = nodes.Crop(inputs=[constant(host, 1, 1, 1, 1)], box="2 2 6 4")
    root["proxy_type"].setValue("scale")
    root["proxy"].setValue(True)
    assert (read.format().width(), read.format().height(), value(host, read).shape) == (4, 3, (3, 4))
    assert value(host, read) == pytest.approx(0.001)
    box = host.picture(cropped).bbox
    assert (box.x, box.y, box.r, box.t) == (1, 1, 3, 2)
    root["proxy"].setValue(False)
    assert read.format().width() == 8 and nodes.Constant(format=SMALL).format().width() == 8
