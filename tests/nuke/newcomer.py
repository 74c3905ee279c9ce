"""A newcomer's session in the stand-in: what is done, and what is seen, as lines of text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.plates.sequence import format_frames
from tests.host import Host
from tests.nuke.conftest import FIRST, LAST, ROOT, Footage, finish, line, read, settle


class Newcomer:
    """Does what a person would do, and writes it down.

    Args:
        host: The session, with the plugin.
        clips: The footage.
        folder: Where the scripts are saved.
    """

    def __init__(self, host: Host, clips: Footage, folder: Path) -> None:
        self.host, self.clips, self.folder = host, clips, folder
        self.lines: list[str] = []

    def do(self, text: str) -> None:
        self.lines.append(f"> {text}")

    def see(self, text: str) -> None:
        text = text.replace(self.folder.as_posix(), "/show")
        text = re.sub(r" \(/(?!show).*", "", text)  # a path that is cut off
        self.lines += [f"  {one}" for one in text.splitlines()]

    def save(self, name: str) -> None:
        self.do(f"File > Save as {name}")
        self.host.module.scriptSaveAs((self.folder / name).as_posix(), 1)

    def render(self, node: Any, choice: str) -> None:
        self.do(f"{node.name()}: menu '{choice}', Render")
        if choice != node["render_frames"].value():
            self.host.set_knob(node, "render_frames", choice)
        self.host.press(node, "render")
        finish(self.host, node)
        self.see(line(node))

    def reload(self, node: Any) -> None:
        self.do(f"{node.name()}: Output > Reload")
        self.host.press(node, "reload")
        settle(self.host)
        self.see(line(node))

    def list_files(self, folder: str) -> None:
        """Lists sequences as Nuke's file browser does: name.####.exr 1001-1003."""
        frames: dict[str, list[int]] = {}
        for path in sorted((self.folder / folder).rglob("*.exr")):
            name, frame, ending = path.name.rsplit(".", 2)
            pattern = path.with_name(f"{name}.####.{ending}").relative_to(self.folder).as_posix()
            frames.setdefault(pattern, []).append(int(frame))
        for pattern, numbers in frames.items():
            self.see(f"/show/{pattern} {format_frames(numbers)}")

    def look(self, node: Any, plate: Any, frame: int, view: str = "") -> None:
        shown, before = (self.host.picture(one, frame, view) for one in (node, plate))
        changed = any(
            not np.array_equal(shown.planes[f"rgba.{name}"], before.planes[f"rgba.{name}"])
            for name in ("red", "green", "blue")
        )
        where = f"frame {frame}" + (f", {view}" if view else "")
        self.see(f"the viewer at {where}: {'the new face' if changed else 'the plate'}")

    def run(self) -> list[str]:
        """Runs the whole session and returns its lines."""
        swap, plate = self.start()
        self.change_a_knob(swap)
        self.name_and_version(swap)
        self.undo(swap)
        self.analyse(swap, plate)
        self.render_on_a_farm(swap)
        self.render_in_stereo(swap, plate)
        return self.lines

    def start(self) -> tuple[Any, Any]:
        self.do("the menu FSGAN of the Nodes toolbar")
        menu = self.host.module.menu("Nodes").findItem("FSGAN")
        self.see(", ".join(item.name() for item in menu.items() if item.name()))
        self.save("shot_v001.nk")
        self.do(f"Read the plate, {FIRST} to {LAST}, and a still; FSGAN > Swap; connect target and source")
        plate = read(self.host, self.clips.plate, FIRST, LAST)
        still = read(self.host, self.clips.source, 1, 1)
        for node in (plate, still):
            node.setSelected(False)
        self.host.choose("FSGAN/Swap", "Nodes")
        swap = self.host.module.selectedNode()
        swap.setInput(0, plate)
        swap.setInput(1, still)
        settle(self.host)
        self.host.idle()
        self.see(f"{swap.name()}: Cancel is {'active' if swap['cancel'].enabled() else 'grey'}")
        self.host.frame = FIRST
        self.render(swap, "current frame")
        for frame in (FIRST, LAST):
            self.look(swap, plate, frame)
        self.render(swap, "range")
        self.list_files("fsgan")
        return swap, plate

    def change_a_knob(self, swap: Any) -> None:
        self.do(f"{swap.name()}: Mask > feather 0.1")
        self.host.set_knob(swap, "mask_feather", 0.1)
        self.host.pump_until(lambda: self.host.idle() is None and "stale" in line(swap), 20)
        settle(self.host)
        self.see(line(swap))
        self.render(swap, "range")
        self.do(f"{swap.name()}: mix 0.5, without a render")
        self.host.set_knob(swap, "live_mix", 0.5)
        self.reload(swap)
        self.host.set_knob(swap, "live_mix", 1)

    def name_and_version(self, swap: Any) -> None:
        self.do(f"{swap.name()}: Output > file /show/renders/hero.exr")
        self.host.set_knob(swap, "output_file", f"{self.folder.as_posix()}/renders/hero.exr")
        self.render(swap, "range")
        self.do(f"{swap.name()}: Output > file /show/renders/hero.%04d.exr")
        self.host.set_knob(swap, "output_file", f"{self.folder.as_posix()}/renders/hero.%04d.exr")
        self.render(swap, "range")
        self.list_files("renders")
        self.do(f"rename {swap.name()} to Hero")
        swap.setName("Hero")
        self.reload(swap)
        self.save("shot_v002.nk")
        self.reload(swap)
        self.list_files("renders")

    def undo(self, swap: Any) -> None:
        self.host.undo_steps.clear()
        self.do("Hero: Blend > grain match 0.5; then a render; then Ctrl+Z")
        self.host.set_knob(swap, "blend_grain", 0.5)
        self.host.press(swap, "render")
        finish(self.host, swap)
        self.see(line(swap))
        self.see("what Ctrl+Z undoes: " + "; ".join(self.host.undo_steps))
        swap.knob("blend_grain", True).setValue(1.0)

    def analyse(self, swap: Any, plate: Any) -> None:
        self.do("FSGAN > Analyse between the plate and Hero; Analyse")
        for node in self.host.module.allNodes():
            node.setSelected(False)
        self.host.choose("FSGAN/Analyse", "Nodes")
        analyse = self.host.module.selectedNode()
        analyse.setInput(0, plate)
        swap.setInput(0, analyse)
        self.host.press(analyse, "analyse")
        finish(self.host, analyse)
        self.see(f"{line(analyse)}; confidence at frame {FIRST}: {analyse['confidence'].getValueAt(FIRST):.1f}")
        self.do(f"{analyse.name()}: draw over the picture; doubtful >")
        self.host.set_knob(analyse, "overlay", True)
        settle(self.host)
        drawn = self.host.picture(analyse, FIRST).planes["rgba.red"]
        changed = not np.array_equal(drawn, self.host.picture(plate, FIRST).planes["rgba.red"])
        self.see("the face's box is drawn" if changed else "nothing is drawn")
        self.host.press(analyse, "next_doubtful")
        self.see(line(analyse))
        self.reload(swap)
        self.render(swap, "range")

    def render_on_a_farm(self, swap: Any) -> None:
        self.do("Write below Hero; save; delete a result; nuke -x -F 1001-1002 shot_v002.nk")
        write = self.host.module.nodes.Write(
            inputs=[swap], file=(self.folder / "out" / "final.####.exr").as_posix(), file_type="exr", raw=True
        )
        (self.folder / "out").mkdir()
        self.host.module.scriptSave()
        (self.folder / "renders" / f"hero.{FIRST}.exr").unlink()
        frames = f"{FIRST}-{FIRST + 1}"
        command = [sys.executable, "-m", "tests.host", "-x", self.host.script_file, "-F", frames]
        ran = subprocess.run(
            [*command, "--plugin", str(ROOT / "nuke_plugin")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'nuke_plugin'}"},
        )
        printed = re.sub(r"^tprint: ", "", ran.stdout, flags=re.MULTILINE).splitlines()
        # The worker may finish frames in another order.
        rendered = sorted(one for one in printed if ": frame " in one)
        self.see("\n".join([*rendered, *(one for one in printed if one not in rendered)]))
        self.see(f"exit code {ran.returncode}")
        self.host.module.delete(write)

    def render_in_stereo(self, swap: Any, plate: Any) -> None:
        self.do("Project Settings: views left and right; Hero renders the current frame")
        self.host.set_views("left", "right")
        self.host.frame = FIRST
        self.render(swap, "current frame")
        self.do("Hero: Output > file /show/renders/hero.%V.%04d.exr")
        self.host.set_knob(swap, "output_file", f"{self.folder.as_posix()}/renders/hero.%V.%04d.exr")
        self.render(swap, "current frame")
        self.list_files("renders")
        for view in ("left", "right"):
            self.look(swap, plate, FIRST, view)
        self.do("FSGAN > Convert selected to groups")
        for node in self.host.module.allNodes():
            node.setSelected(node.name() == swap.name())
        self.host.choose("FSGAN/Convert selected to groups", "Nodes")
        group = self.host.module.toNode("root.Hero")
        self.see(f"{group.name()} is a {group.Class()} now")
        self.look(group, plate, FIRST, "left")
