"""The appearance-map panel without its widgets; and with them, where there is a Qt."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from fsgan_nuke.view_model import ViewModel

ROOT = Path(__file__).parents[2]


def view(
    frame: int, yaw: float = 0.0, state: str = "used", weight: float = 1.0, clip: int = 0, **rest: Any
) -> dict[str, Any]:
    return {
        "name": str(frame),
        "clip": clip,
        "frame": frame,
        "yaw": yaw,
        "pitch": 0.0,
        "roll": 0.0,
        "mouth": 0.1,
        "confidence": 1.0,
        "state": state,
        "weight": weight,
        "leads": 0,
        "light": 0.0,
        "picture": "",
        **rest,
    }


def model(*views: dict[str, Any], **data: Any) -> ViewModel:
    return ViewModel({"views": list(views), **data})


class TestKnobs:
    def test_nothing_chosen(self) -> None:
        assert model(view(1), view(2)).make_knob_texts() == {"views": "", "exclude": "", "weights": ""}

    def test_neighbours_become_ranges(self) -> None:
        """Of the list of views: between them the source shows no face."""
        found = model(*(view(frame) for frame in (1, 2, 4, 7, 9)))
        found.leave_out_views([0, 2, 3])
        assert found.make_knob_texts()["exclude"] == "1,4-7"
        found.set_weight([1, 4], 3)
        assert found.make_knob_texts()["weights"] == "2=3,9=3"

    def test_a_range_is_of_one_clip(self) -> None:
        found = model(
            view(1, name="a:1"), view(2, name="a:2"), view(1, name="b:1", clip=1), view(-3, name="b:-3", clip=1)
        )
        found.leave_out_views(range(4))
        assert found.make_knob_texts()["exclude"] == "a:1-2,b:1--3"

    def test_only_these_and_reset(self) -> None:
        found = model(view(1), view(2, weight=2.0), view(3, state="spare"), view(4))
        found.use_only_views([1])
        assert found.make_knob_texts() == {"views": "", "exclude": "1,4", "weights": "2=2"}
        found.use_views([0])
        assert found.make_knob_texts()["exclude"] == "4"
        found.reset_choice()
        assert found.make_knob_texts() == {"views": "", "exclude": "", "weights": ""}

    def test_the_core_reads_what_is_written(self) -> None:
        from fsgan_core.contract.params import ReenactParams
        from fsgan_core.stages.allowed_views import choose_views
        from tests.stages.test_leading_view import AROUND, clip

        actor = clip(AROUND)
        found = model(*(view(frame) for frame in range(1, 16)))
        found.leave_out_views([2, 3, 4, 9])
        found.set_weight([0, 1], 0.25)
        texts = {name: tuple(text.split(",")) for name, text in found.make_knob_texts().items() if text}
        chosen = choose_views([actor], ReenactParams(**texts), ["a"])
        assert [ref.frame for ref, one in chosen.items() if one.state == "excluded"] == [3, 4, 5, 10]
        assert [ref.frame for ref, one in chosen.items() if one.weight == 0.25] == [1, 2]


class TestTexts:
    def test_summary(self) -> None:
        lack = {"count": 4, "text": "25 left", "frames": "1-4"}
        assert model(view(1), view(2, state="excluded")).format_summary() == "1 views, 1 left out"
        said = model(view(1), target=9, lacking=[lack]).format_summary()
        assert said == "1 views; 9 frames of the target, 4 lack a near view"
        assert model(view(1), target=9).format_summary().endswith("all near a view")

    def test_captions(self) -> None:
        found = model(
            view(7, leads=12, weight=3.0),
            view(8, state="excluded"),
            poses=[{"yaw": 0, "pitch": 0, "frames": 5, "lacking": 0}],
        )
        assert [found.format_caption(place) for place in (0, 1)] == ["7, leads 12, x3", "8, left out"]
        assert "leads 12 frames" in found.format_details(0)
        assert found.format_square(found.make_grid().squares[(0, 0)]) == "1 of 2"


@pytest.mark.parametrize(
    ("major", "there", "taken"),
    [
        (15, ("PySide2", "PySide6"), "PySide2"),
        (16, ("PySide2", "PySide6"), "PySide6"),
        (16, ("PySide2",), "PySide2"),
        (15, (), None),
    ],
)
def test_which_qt_is_taken(
    monkeypatch: pytest.MonkeyPatch, major: int, there: tuple[str, ...], taken: str | None
) -> None:
    """The host's own: PySide6 from 16 on. Without one the module cannot be imported."""
    nuke = types.ModuleType("nuke")
    nuke.NUKE_VERSION_MAJOR = major  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nuke", nuke)
    for name in ("PySide2", "PySide6"):
        for module in (name, *(f"{name}.{part}" for part in ("QtCore", "QtGui", "QtWidgets"))):
            monkeypatch.setitem(sys.modules, module, types.ModuleType(module) if name in there else None)
    monkeypatch.delitem(sys.modules, "fsgan_nuke.qt", raising=False)
    if taken is None:
        with pytest.raises(ImportError, match="none of PySide2, PySide6"):
            importlib.import_module("fsgan_nuke.qt")
        return
    assert importlib.import_module("fsgan_nuke.qt").QtCore.__name__ == f"{taken}.QtCore"
    monkeypatch.delitem(sys.modules, "fsgan_nuke.qt")


SCRIPT = """
import sys, types
sys.path[:0] = {paths!r}
nuke = types.ModuleType("nuke")
nuke.NUKE_VERSION_MAJOR = 16
sys.modules["nuke"] = nuke
from fsgan_nuke.qt import QtCore, QtGui, QtWidgets
application = QtWidgets.QApplication([])
from fsgan_nuke.view_panel import ViewPanel
from tests.nuke.test_view_model import view
applied, frames, closed = [], [], []
panel = ViewPanel("map", applied.append, lambda: None, frames.append, lambda: closed.append(1))
views = [view(1), view(2, 1.0, leads=4), view(3, 40.0)]
panel.fill({{"views": views, "poses": [{{"yaw": 20, "pitch": 0, "frames": 5, "lacking": 5}}], "target": 5,
            "lacking": [{{"text": "20 right", "frames": "-5--3,7", "count": 5}}]}})
panel.show()
picture = panel.grab().toImage()
key = next(key for key, square in panel.map.grid.squares.items() if len(square.views) == 2)
panel.map.selected_keys = {{key}}
panel.map._tell()
assert panel.list.count() == 2 and panel.list.item(1).text() == "2, leads 4"
panel.list.item(1).setSelected(True)
buttons = {{button.text(): button for button in panel.findChildren(QtWidgets.QPushButton)}}
buttons["Leave out"].click()
assert applied[-1]["exclude"] == "2", applied
panel.list.clearSelection()
panel.weight.setValue(3.0)
buttons["Set"].click()
assert applied[-1]["weights"] == "1-2=3", applied
buttons["Reset all"].click()
assert applied[-1] == {{"views": "", "exclude": "", "weights": ""}}
panel.angles.itemDoubleClicked.emit(panel.angles.item(0))
assert frames == [-5]
from fsgan_nuke import textwindow
window = textwindow.show("FSGAN: doctor", "one\\ntwo")
textwindow.show("FSGAN: doctor", "three")
panel.close()
assert closed == [1]
print("fine", picture.width() > 500)
"""


@pytest.mark.skipif(importlib.util.find_spec("PySide6") is None, reason="PySide6 is not installed")
def test_widgets() -> None:
    """In a process of its own, drawn nowhere."""
    paths = [str(ROOT), str(ROOT / "nuke_plugin")]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(paths=paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    assert ran.returncode == 0 and "fine True" in ran.stdout, ran.stderr
