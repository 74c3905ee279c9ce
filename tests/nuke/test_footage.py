"""A shot from menu to farm on real footage, in the stand-in with the real worker; against `fsgan swap`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsgan_core.contract.params import MaskParams
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import open_clip
from tests.host import Host
from tests.nuke.conftest import ROOT, finish, line, press_render, settle
from tests.nuke.test_end_to_end import farm

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
PLATE, SOURCE = range(1001, 1005), range(1, 6)
STAGES = ("Reenact", "Mask", "Inpaint", "Blend")


@pytest.fixture(scope="module")
def shot(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plate.####.exr, linear half, and source.####.exr, from two clips of people who move and speak."""
    folder = tmp_path_factory.mktemp("footage")
    for name, clip, first, frames in (("plate", "lp_d19", 20, PLATE), ("source", "lp_d18", 1, SOURCE)):
        with open_clip(Clip(str(footage / "clips" / f"{clip}.mp4"))) as movie:
            for place, frame in enumerate(frames):
                pixels = movie.read(first + (place if name == "plate" else 12 * place)).get("R", "G", "B")
                linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
                height, width = linear.shape[:2]
                window = Window(0, 0, width, height)
                write_exr(
                    folder / f"{name}.{frame:04d}.exr",
                    Plate(linear.astype(np.float32), ("R", "G", "B"), window, window, 1.0, {}, ("half",) * 3),
                )
    return folder


@pytest.fixture(autouse=True)
def quiet(session: Host) -> Iterator[None]:
    yield
    settle(session)
    assert [text for kind, text in session.messages if kind == "traceback"] == []


def rendered(session: Host, node: Any, button: str = "render_here") -> None:
    press_render(session, node, button)
    assert finish(session, node, 300).error is None, line(node)


def times(node: Any, frames: range) -> list[int]:
    return [Path(node["result"].evaluate(frame)).stat().st_mtime_ns for frame in frames]


def test_a_shot(session: Host, shot: Path, environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsgan_nuke import client, request

    # The tree by the menu, both clips analysed.
    session.choose("FSGAN/Example tree", "Nodes")
    tree = {node.name(): node for node in session.module.allNodes()}
    for name, file, frames in (("Target", "plate", PLATE), ("Source", "source", SOURCE)):
        tree[name]["file"].fromUserText(f"{shot.as_posix()}/{file}.####.exr {frames[0]}-{frames[-1]}")
        analyse = tree[f"Analyse{name}"]
        session.press(analyse, "analyse")
        assert finish(session, analyse, 300).error is None and line(analyse) == "analysed"
        assert analyse["centre"].getKeyList() == list(frames)

    # Two frames; then one knob of Blend, and Blend alone is made again.
    blend, two = tree["Blend"], PLATE[:2]
    blend["frames"].setValue(f"{two[0]}-{two[-1]}")
    rendered(session, blend)
    assert line(blend) == "up to date (2 frames)"
    before = {name: times(tree[name], two) for name in STAGES}
    session.set_knob(blend, "sharpness", 0.5)
    session.pump_until(lambda: line(blend).startswith("stale"), 30)
    assert line(blend) == f"stale {two[0]}-{two[-1]} (blend.sharpness)"
    rendered(session, blend)
    after = {name: times(tree[name], two) for name in STAGES}
    assert [name for name in STAGES if after[name] != before[name]] == ["Blend"]
    session.set_knob(blend, "sharpness", 1.0)

    # Cancelled; then the worker is killed in the middle of a frame: it is said, and the next render goes on.
    tree["Mask"]["feather"].setValue(0.08)
    press_render(session, blend, "render_here")
    session.press(blend, "cancel")
    assert finish(session, blend, 60).cancel_event.is_set()
    pid, hear = client.get_shared_client().pid, request.PendingRequest.handle_event

    def kill_in_the_middle(self: Any, event: Any) -> None:
        if getattr(event, "step", "") == "begin":
            os.kill(pid, signal.SIGKILL)
        hear(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(request.PendingRequest, "handle_event", kill_in_the_middle)
        press_render(session, tree["Mask"], "render_range")
        assert finish(session, tree["Mask"], 60).error is not None
    assert "killed by SIGKILL" in line(tree["Mask"])
    tree["Mask"]["feather"].setValue(MaskParams().feather)
    rendered(session, blend)
    assert line(blend) == "up to date (2 frames)"
    kept = times(blend, two)

    # The saved script, opened by `nuke -x` in another process, renders the rest.
    out = tmp_path / "out"
    out.mkdir()
    write = tree["Write"]
    write["file"].setValue((out / "final.####.exr").as_posix())
    write["channels"].setValue("rgb")
    write["raw"].setValue(True)
    write["datatype"].setValue("32 bit float")
    session.module.scriptSaveAs(session.script_file, 1)
    ran = farm(Path(session.script_file), f"{PLATE[0]}-{PLATE[-1]}", "")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Blend: frame {PLATE[0]} kept" in ran.stdout and f"Blend: frame {PLATE[-1]} rendered" in ran.stdout
    assert times(blend, two) == kept

    # All of it is what the command line makes in one go.
    subprocess.run(
        [
            sys.executable,
            "-m",
            "fsgan_core.cli",
            "swap",
            "--source",
            f"{shot}/source.####.exr",
            "--target",
            f"{shot}/plate.####.exr",
            "--source-colorspace",
            "lin_rec709_srgb",
            "--target-colorspace",
            "lin_rec709_srgb",
            "-o",
            str(tmp_path / "swap.####.exr"),
            "--device",
            "cpu",
            "-q",
        ],
        cwd=ROOT,
        check=True,
        env={**os.environ, "FSGAN_CACHE": str(tmp_path / "cache")},
        timeout=300,
    )
    for frame in PLATE:
        wanted = read_image(tmp_path / f"swap.{frame}.exr").get("R", "G", "B")
        assert np.array_equal(read_image(out / f"final.{frame}.exr").get("R", "G", "B"), wanted), frame
        made = read_image(Path(blend["result"].evaluate(frame)))
        assert np.array_equal(made.get("R", "G", "B"), wanted)
        assert not np.array_equal(wanted, read_image(shot / f"plate.{frame}.exr").get("R", "G", "B"))
