"""A script on a farm: the menu's job, run by the reference engine with the stand-in as its Nuke."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from fsgan_core.contract.errors import InputError
from tests.farm.test_farm import openjd, program
from tests.host import Host
from tests.nuke.conftest import FIRST, LAST, ROOT, Footage, build, finish, line, press_render

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shell scripts")


def nuke_program(folder: Path) -> Path:
    """The stand-in as one file to call; what it is called with is written down."""
    path = folder / "nuke"
    path.write_text(
        f'#!/bin/sh\necho "$@" >> "{folder}/calls"\nPYTHONPATH="{ROOT}:{ROOT}/nuke_plugin" exec '
        f'"{sys.executable}" -m tests.host --plugin "{ROOT}/nuke_plugin" "$@"\n'
    )
    path.chmod(0o755)
    return path


def test_from_the_menu_to_the_writes_files(
    session: Host, clips: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node reads the plate itself, another one gets it graded, which only Nuke can write."""
    nodes = session.module.nodes
    tree = build(session, clips)
    graded = nodes.FSGAN_Mask(inputs=[nodes.Grade(inputs=[tree.plate], multiply=1.2)])
    for name, node, channels in (("Final", tree.blend, "rgb"), ("Matte", graded, "all")):
        (tmp_path / name).mkdir()
        write = nodes.Write(
            inputs=[node],
            name=name,
            file=(tmp_path / name / "f.####.exr").as_posix(),
            raw=True,
            file_type="exr",
            channels=channels,
        )
        for knob, value in (("use_limit", True), ("first", FIRST), ("last", LAST)):
            write[knob].setValue(value)
    write["render_order"].setValue(2)
    script = tmp_path / "comp.nk"
    session.module.scriptSaveAs(script.as_posix(), 1)
    sent = tmp_path / "sent"
    session.answers = [
        {
            "frames per task": "2",
            "submit command": f"{sys.executable} -c \"import sys; open('{sent}', 'w').write(sys.argv[1])\"",
            "Nuke command on the farm": "nuke",
        }
    ]
    session.choose("FSGAN/Submit to farm...", "Nodes")
    session.pump_until(lambda: any("The job" in text for _, text in session.messages), 120)
    job = tmp_path / "fsgan" / "comp" / "job"
    assert sent.read_text() == str(job), session.messages
    for name in ("FSGAN_PYTHON", "FSGAN_SETTINGS"):
        monkeypatch.setenv(name, "/none")  # the Writes need no worker
    programs = tmp_path / "bin"
    programs.mkdir()
    done = openjd(
        "run",
        job / "template.yaml",
        "-p",
        f"file://{job / 'parameters.json'}",
        "-p",
        f"Command={program(programs)}",
        "-p",
        f"Nuke={nuke_program(programs)}",
        "--step",
        "Write Matte",
        "--run-dependencies",
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    calls = (programs / "calls").read_text().splitlines()
    assert calls[0].startswith("-t ") and calls[1:] == [
        f"-X {name} -F {frames} {script}" for name in ("Final", "Matte") for frames in ("1001-1002", "1003-1003")
    ]
    told = json.loads((tmp_path / "fsgan" / "comp" / "farm" / "nodes.json").read_text())["nodes"]
    assert sorted(one["stage"] for one in told) == ["blend", "inpaint", "mask", "mask", "reenact"]
    tracks = list((tmp_path / "fsgan" / "comp" / "farm" / "tracks").glob("target.????????????????.json"))
    assert len(tracks) == 2, "the plate, and the graded one; four nodes share the first"
    for frame in range(FIRST, LAST + 1):
        picture = oiio.ImageBuf(str(tmp_path / "Final" / f"f.{frame}.exr")).get_pixels(oiio.FLOAT)
        shown = oiio.ImageBuf(str(tmp_path / "fsgan" / "comp" / tree.blend.name() / f"{tree.blend.name()}.{frame}.exr"))
        assert picture[..., :3].shape[:2] == (190, 224) and np.isfinite(picture).all()
        assert shown.spec().getattribute("fsgan/key") and (tmp_path / "Matte" / f"f.{frame}.exr").is_file()
    monkeypatch.undo()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "fsgan" / "comp").rglob("*.????.exr")}
    press_render(session, tree.blend, "render_here")
    finish(session, tree.blend)
    assert line(tree.blend) == "up to date (3 frames)"
    assert before == {path: path.stat().st_mtime_ns for path in before}, "what the farm made is what the nodes want"


def test_nothing_to_submit(session: Host) -> None:
    from fsgan_nuke import farm

    for node in session.module.allNodes("Write"):
        session.module.delete(node)
    session.messages.clear()
    session.choose("FSGAN/Submit to farm...", "Nodes")
    assert "no enabled Write of this script" in session.messages[-1][1]
    with pytest.raises(InputError, match="no Write Gone"):
        farm.write_nodes("/nowhere/nodes.json", "1", ["Gone"])
