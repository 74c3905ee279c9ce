"""Code that is called by its name in a text, or whose exceptions are swallowed: what it calls must exist."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsgan_core.contract import stage_graph
from fsgan_core.farm.nuke_bundle import PREPARE_SCRIPT
from tests.host import Host, new_host
from tests.nuke.conftest import ROOT, plugin

STARTUP_FILES = ("init.py", "menu.py")


@pytest.fixture
def host(environment: Path) -> Iterator[Host]:
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "fsgan_nuke"}
    with new_host() as session:
        plugin(session)
        yield session
        for name in [name for name in sys.modules if name.split(".")[0] == "fsgan_nuke"]:
            del sys.modules[name]
    sys.modules.update(kept)


def list_plugin_calls(code: str) -> list[tuple[str, str]]:
    """(module, function) of every call on an imported module of the plugin."""
    tree = ast.parse(code)
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "fsgan_nuke":
            modules.update({alias.asname or alias.name: f"fsgan_nuke.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            modules.update({alias.name: alias.name for alias in node.names if alias.name == "fsgan_nuke"})
    return [
        (modules[node.func.value.id], node.func.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in modules
    ]


def test_startup_prints_no_error(environment: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """init.py and menu.py print what goes wrong and go on, so Nuke starts in any case."""
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "fsgan_nuke"}
    with new_host() as session:
        plugin(session)
        assert session.module.menu("Nodes").findItem("FSGAN") is not None
    sys.modules.update(kept)
    out, err = capfd.readouterr()
    assert "FSGAN" not in out and "Traceback" not in err


@pytest.mark.parametrize("name", STARTUP_FILES)
def test_startup_files_call_functions_that_exist(host: Host, name: str) -> None:
    calls = list_plugin_calls((ROOT / "nuke_plugin" / name).read_text(encoding="utf-8"))
    assert calls
    for module, function in calls:
        assert callable(getattr(importlib.import_module(module), function))


def test_the_farms_script_calls_functions_that_exist(host: Host) -> None:
    calls = list_plugin_calls(PREPARE_SCRIPT)
    assert calls == [("fsgan_nuke.farm", "prepare")]
    for module, function in calls:
        assert callable(getattr(importlib.import_module(module), function))


def test_every_button_has_an_action(host: Host) -> None:
    """Saved scripts hold the texts of the buttons, so neither `fsgan_nuke.run` nor an action's name may change."""
    import fsgan_nuke
    from fsgan_nuke import actions

    assert callable(fsgan_nuke.run)
    names = set()
    for path in sorted((ROOT / "gizmos").glob("*.gizmo")):
        text = path.read_text(encoding="utf-8")
        names |= set(re.findall(r"fsgan_nuke\.run\('(\w+)'\)", text))
        assert text.count("import fsgan_nuke") == text.count("import fsgan_nuke; fsgan_nuke.run('")
    assert names == set(actions.ACTIONS)


def test_every_event_has_a_callback(host: Host) -> None:
    from fsgan_nuke import callbacks, farm_callbacks

    expected = {
        "OnCreate": (callbacks.on_created, tuple(stage_graph.NODES)),
        "KnobChanged": (callbacks.on_knob_changed, tuple(stage_graph.NODES)),
        "UpdateUI": (callbacks.on_update_ui, ("FSGAN_Swap",)),
        "OnScriptLoad": (farm_callbacks.on_script_loaded, ("Root",)),
        "OnScriptClose": (callbacks.on_script_closed, ("Root",)),
        "BeforeRender": (farm_callbacks.on_before_render, ("Write",)),
        "AfterRender": (farm_callbacks.on_after_render, ("Write",)),
        "BeforeFrameRender": (farm_callbacks.on_before_frame, ("Write",)),
    }
    for event, (function, node_classes) in expected.items():
        for node_class in node_classes:
            assert [entry[0] for entry in host.callbacks.lists[event][node_class]] == [function]


def test_names_of_functions_in_messages_exist(host: Host) -> None:
    """A message that tells an artist to call a function must name one that exists."""
    for path in sorted((ROOT / "nuke_plugin" / "fsgan_nuke").glob("*.py")):
        for module, function in re.findall(r"\b(fsgan_nuke\.\w+)\.(\w+)\(\)", path.read_text(encoding="utf-8")):
            assert callable(getattr(importlib.import_module(module), function)), f"{path.name}: {module}.{function}"
