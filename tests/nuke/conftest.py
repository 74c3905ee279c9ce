"""A session of the stand-in host with the plugin, a real worker, and small footage."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window
from tests.host import Host, new_host, start

ROOT = Path(__file__).parents[2]
NODES = ("FSGAN_Analyse", "FSGAN_Reenact", "FSGAN_Mask", "FSGAN_Inpaint", "FSGAN_Blend", "FSGAN_Swap", "FSGAN_Drive")
FIRST, LAST = 1001, 1003
SIZE = (224, 190)


@dataclass(frozen=True)
class Footage:
    """folder/plate.####.exr (half, linear), folder/source.png."""

    folder: Path

    @property
    def plate(self) -> str:
        return (self.folder / "plate.####.exr").as_posix()

    @property
    def source(self) -> str:
        return (self.folder / "source.png").as_posix()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, grace_hopper: np.ndarray) -> Footage:
    folder = tmp_path_factory.mktemp("clips")
    width, height = SIZE
    for frame in range(FIRST, LAST + 1):
        turn = cv2.getRotationMatrix2D((256.0, 200.0), 1.5 * np.sin(frame), 0.62)
        turn[:, 2] += (width / 2 - 256 + 2 * (frame - FIRST), 95 - 200)
        small = cv2.warpAffine(grace_hopper, turn, SIZE, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        linear = (small.astype(np.float32) / 255) ** 2.2
        depth = np.linspace(1, 9, width, dtype=np.float32)[None].repeat(height, 0)
        pixels = np.dstack([linear, np.ones_like(depth), depth]).astype(np.float16).astype(np.float32)
        window = Window(0, 0, width, height)
        write_exr(
            folder / f"plate.{frame}.exr",
            Plate(pixels, ("R", "G", "B", "A", "depth.Z"), window, window, 1.0, {"take": frame}, ("half",) * 5),
        )
    face = cv2.resize(astronaut[:300, 80:380], None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "source.png"), face[..., ::-1])
    return Footage(folder)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The worker is this Python and this checkout; cache, logs and preferences are the test's own."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "nuke.json").write_text(json.dumps({"root": str(ROOT), "logs": str(folder / "logs")}))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("FSGAN_PYTHON", sys.executable),
            ("FSGAN_CACHE", str(folder / "cache")),
            ("FSGAN_SETTINGS", str(folder / "nuke.json")),
            ("FSGAN_DEVICE", "cpu"),
        ):
            patch.setenv(name, value)
        patch.delenv("OCIO", raising=False)
        yield folder


def plugin(host: Host) -> None:
    """What a starting Nuke does with our folder on its path; the plugin's modules are new for each session."""
    for name in [name for name in sys.modules if name == "fsgan_nuke" or name.startswith("fsgan_nuke.")]:
        del sys.modules[name]
    start(host, [ROOT / "nuke_plugin"])
    assert host.startup_errors == []


@pytest.fixture(scope="module")
def session(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """An artist's session, its script saved; one for the tests of a module, since its worker stays warm."""
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "fsgan_nuke"}
    with new_host() as host:
        plugin(host)
        from fsgan_nuke import client

        host.module.scriptSaveAs((tmp_path_factory.mktemp("show") / "shot.nk").as_posix())
        yield host
        client.close_all_clients()
        for name in [name for name in sys.modules if name.split(".")[0] == "fsgan_nuke"]:
            del sys.modules[name]
    sys.modules.update(kept)


def read(host: Host, path: str, first: int, last: int, **knobs: Any) -> Any:
    node = host.module.nodes.Read(**knobs)
    node["file"].fromUserText(f"{path} {first}-{last}")
    return node


@dataclass(frozen=True)
class Tree:
    """The nodes of a swap, each its own."""

    plate: Any
    source: Any
    reenact: Any
    mask: Any
    inpaint: Any
    blend: Any


def build(host: Host, clips: Footage) -> Tree:
    nodes = host.module.nodes
    plate, source = read(host, clips.plate, FIRST, LAST), read(host, clips.source, 1, 1)
    reenact = nodes.FSGAN_Reenact(inputs=[plate, source])
    mask = nodes.FSGAN_Mask(inputs=[plate])
    inpaint = nodes.FSGAN_Inpaint(inputs=[plate, reenact, mask, source])
    blend = nodes.FSGAN_Blend(inputs=[plate, inpaint, mask])
    return Tree(plate, source, reenact, mask, inpaint, blend)


# What used to be three buttons, as the menu beside Render and the switch behind it say it.
RENDERS = {"render_frame": ("current frame", False), "render_range": ("range", True), "render_here": ("range", False)}


def press_render(host: Host, node: Any, what: str) -> None:
    """Chooses what to render, a key of RENDERS, and presses Render."""
    choice, alone = RENDERS[what]
    node["render_frames"].setValue(choice)
    node["render_alone"].setValue(alone)
    host.press(node, "render")


def finish(host: Host, node: Any, seconds: float = 120.0) -> Any:
    """Serves the main thread until the render of the node is over, and its status was asked for; the render."""
    from fsgan_nuke import node_render

    running = node_render.find_active_render(node)
    assert running is not None
    host.pump_until(lambda: not running.thread.is_alive(), seconds)
    settle(host)
    return running


def settle(host: Host, seconds: float = 60.0) -> None:
    """Until every question that the nodes have asked is answered and shown."""
    from fsgan_nuke import client

    host.pump_until(lambda: not client.get_shared_client()._requests, seconds)
    host.pump()
    host.pump_until(lambda: not client.get_shared_client()._requests, seconds)
    host.pump()


def line(node: Any) -> str:
    return str(node["status_line"].value())


@pytest.fixture
def mask(session: Host, clips: Footage) -> Iterator[Any]:
    """A new FSGAN_Mask on the plate."""
    plate = read(session, clips.plate, FIRST, LAST)
    node = session.module.nodes.FSGAN_Mask(inputs=[plate])
    session.messages.clear()
    yield node
    settle(session)
    assert [text for kind, text in session.messages if kind in ("traceback", "message")] == []
    session.module.delete(node)
    session.module.delete(plate)
