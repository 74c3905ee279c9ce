"""The module `nuke`: functions of the session, each checked against the stubs."""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.host import api
from tests.host.actions import interface, rendering
from tests.host.files import open_script, paste, run_plugin_file, save_script
from tests.host.groups import Group
from tests.host.nodes import Node
from tests.host.presets import presets
from tests.host.rotopaint import make_submodule
from tests.host.script import clone_of
from tests.host.stubs import load_stubs
from tests.host.textknobs import File_Knob, Link_Knob
from tests.host.values import GlobalsEnvironment, parse_format

if TYPE_CHECKING:
    from tests.host.session import Host


NODES_OF_SMALL_EDITIONS = 10  # that Python sees in Nuke Non-commercial and Nuke Indie


class NukeModule(types.ModuleType):
    """Has what the stubs have, and nothing else."""

    def __init__(self, host: Host) -> None:
        super().__init__("nuke", "Stand-in for Foundry Nuke; see docs/stand-in.md.")
        self.__dict__["_host"] = host

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in load_stubs().functions or name in load_stubs().aliases:
            return api.missing_function(name)
        if name in load_stubs().classes or name in load_stubs().constants:
            raise NotImplementedError(f"nuke.{name} exists in Nuke, and the stand-in does not do it: docs/stand-in.md")
        raise AttributeError(f"module 'nuke' has no attribute {name!r} (by types-nuke)")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"nuke.{name} must not be set: the module is Nuke's")

    def _submodules(self) -> dict[str, types.ModuleType]:
        return {"nuke": self, "nuke.rotopaint": make_submodule()}


class _Nodes:
    """nuke.nodes: `nuke.nodes.Blur(size=3, inputs=[a])`; no wiring by itself, no panel, no defaults of the user."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, node_class: str) -> Callable[..., Node]:
        if node_class.startswith("__"):
            raise AttributeError(node_class)

        def make(*args: Any, **knobs: Any) -> Node:
            api.check_thread(f"nuke.nodes.{node_class}")
            if args:
                raise TypeError(f"nuke.nodes.{node_class} takes knobs by name only")
            inputs = knobs.pop("inputs", [])
            node = self._host.scripts.make(node_class, self._host.group, name=knobs.pop("name", ""))
            for name, value in knobs.items():
                knob = node[name]
                knob.fromScript(value) if isinstance(value, str) and not isinstance(knob, File_Knob) else knob.setValue(
                    value
                )
            for place, pipe in enumerate(inputs):
                if not node.setInput(place, pipe):
                    raise ValueError(f"nuke.nodes.{node_class} cannot take input {place}: {pipe!r}")
            self._host.callbacks.created(node)
            return node

        return make


def make_module(host: Host) -> NukeModule:
    module = NukeModule(host)
    names = module.__dict__
    names.update(api.CLASSES)
    names.update({name: value for name, value in host.constants.items() if name in load_stubs().constants})
    names["CancelledError"] = type("CancelledError", (Exception,), {})
    names["nodes"] = _Nodes(host)
    names["env"] = GlobalsEnvironment(_environment(host))
    for name, implementation in {**_functions(host), **host.callbacks.functions()}.items():
        names[name] = api.function(name, implementation)
    for name, implementation in _from_any_thread(host).items():
        names[name] = api.function(name, implementation, any_thread=True)
    return module


def _environment(host: Host) -> dict[str, Any]:
    c = host.constants
    return {
        "gui": host.gui,
        "interactive": host.gui,
        "nukex": False,
        "studio": False,
        "nc": host.edition == "nc",
        "indie": host.edition == "indie",
        "ple": False,
        "assist": False,
        "hiero": False,
        "threads": 2,
        "numCPUs": 2,
        "ExecutablePath": c["EXE_PATH"],
        "ExternalPython": False,
        "NukeVersionMajor": c["NUKE_VERSION_MAJOR"],
        "NukeVersionMinor": c["NUKE_VERSION_MINOR"],
        "NukeVersionRelease": c["NUKE_VERSION_RELEASE"],
        "NukeVersionString": c["NUKE_VERSION_STRING"],
        "NukeVersionPhase": "",
        "LINUX": sys.platform == "linux",
        "MACOS": sys.platform == "darwin",
        "WIN32": os.name == "nt",
        "PluginExtension": "so",
        "64bit": True,
    }


def _from_any_thread(host: Host) -> dict[str, Callable[..., Any]]:
    """The main-thread helpers, and what only writes to the terminal."""

    def refuse() -> None:
        if threading.current_thread() is host.main_thread:
            raise RuntimeError("executeInMainThread was called from the main thread: Nuke would hang")
        if not host.gui:
            raise RuntimeError(f"executeInMainThread under nuke {host.mode}: no event loop serves it; call directly")

    def in_main_thread(call: Callable[..., Any], args: Any = (), kwargs: Any = None) -> None:
        refuse()
        given = args if isinstance(args, tuple) else (args,)
        host._queue.put(lambda: _reported(host, call, given, kwargs or {}))

    def in_main_thread_with_result(call: Callable[..., Any], args: Any = (), kwargs: Any = None) -> Any:
        refuse()
        given = args if isinstance(args, tuple) else (args,)
        done = threading.Event()
        results: list[Any] = []

        def task() -> None:
            results.append(_reported(host, call, given, kwargs or {}))
            done.set()

        host._queue.put(task)
        done.wait()
        return results[0]

    def say(kind: str) -> Callable[..., None]:
        return lambda message: host.messages.append((kind, str(message)))

    def tprint(*values: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
        host.messages.append(("tprint", sep.join(map(str, values))))

    return {
        "executeInMainThread": in_main_thread,
        "executeInMainThreadWithResult": in_main_thread_with_result,
        "tprint": tprint,
        **{kind: say(kind) for kind in ("error", "warning", "debug")},
    }


def _reported(host: Host, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Nuke prints the traceback and hands back None."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        host.messages.append(("traceback", f"{type(error).__name__}: {error}"))
        return None


def _functions(host: Host) -> dict[str, Callable[..., Any]]:
    return {**_graph(host), **_context(host), **_files(host), **interface(host), **rendering(host), **presets(host)}


def _graph(host: Host) -> dict[str, Callable[..., Any]]:
    def create(typ: str, knobs: str = "", inpanel: bool = True) -> Node:
        group = host.group
        selected = [node for node in group._children if node.isSelected()]
        node = host.scripts.make(typ, group)
        for name, value in host.knob_defaults.items():
            owner, _, knob = name.partition(".")
            if owner in (typ, "*") and knob in node._knobs:
                node._knobs[knob]._set_text(value)
        if knobs:
            host.scripts.read_knobs(node, knobs)
        for place, pipe in enumerate(reversed(selected[-max(node.maxInputs(), 1) :])):
            if place < node.maxInputs():
                node._connect(place, pipe)
        for other in selected:
            other.setSelected(False)
        node.setSelected(True)
        host.callbacks.created(node, by_user=True)
        if inpanel and host.gui:
            node.showControlPanel()
        return node

    def all_nodes(filter: str | None = None, group: Group | None = None, recurseGroups: bool = False) -> list[Node]:
        start = group or host.group
        found = list(start._descendants()) if recurseGroups else list(start._children)
        if host.edition:
            found = found[:NODES_OF_SMALL_EDITIONS]
        return [node for node in found if filter is None or node._node_class == filter]

    def delete(n: Node) -> None:
        host.callbacks.fire("OnDestroy", n)
        assert n._parent is not None
        for node in n._parent._children:
            for place, pipe in enumerate(node._pipes):
                if pipe is n:
                    node._connect(place, n.input(0))
        owner: Node = n._parent
        for knob in owner._knobs.values():
            if isinstance(knob, Link_Knob) and knob._target.partition(".")[0] == n.name():
                knob._target = ""  # a link does not wait for another node of that name
        n._parent._children.remove(n)
        n._dead = True

    def selected(filter: str | None = None) -> list[Node]:
        return [node for node in all_nodes(filter) if node.isSelected()]

    def select_all() -> None:
        for node in host.group._children:
            node.setSelected(True)

    def selected_node() -> Node:
        found = selected()
        if not found:
            raise ValueError("no node selected")
        return found[-1]

    def clone(n: Node, args: Any = None, inpanel: Any = None) -> Node:
        node = clone_of(n)
        host.callbacks.created(node)
        return node

    def knob_default(classknob: str, value: str | None = None) -> str | None:
        if value is None:
            return host.knob_defaults.get(classknob)
        host.knob_defaults[classknob] = value
        return None

    def value(knob: str, default: str | None = None) -> str:
        found = host.knob_by_path(knob, host.root._knobs["name"])
        if found is None:
            if default is None:
                raise RuntimeError(f"no knob {knob}")
            return default
        return found._text()

    def add_format(s: str) -> Any:
        made = parse_format(s)
        host.formats = [known for known in host.formats if known._format_name != made._format_name] + [made]
        return made

    return {
        "createNode": create,
        "allNodes": all_nodes,
        "delete": delete,
        "selectedNodes": selected,
        "selectedNode": selected_node,
        "clone": clone,
        "toNode": host.find,
        "root": lambda: host.root,
        "knobDefault": knob_default,
        "value": value,
        "addFormat": add_format,
        "formats": lambda: list(host.formats),
        "exists": lambda s: host.knob_by_path(s, host.root._knobs["name"]) is not None or host.find(s) is not None,
        "channels": lambda node=None: node.channels() if node else host.channels.names(),
        "layers": lambda node=None: list(host.channels.layers),
        "views": lambda: list(host.views()),
        "endGroup": lambda: host.group.end(),
        "selectAll": select_all,
        "show": lambda n, forceFloat=False: n.showControlPanel(),
    }


def _context(host: Host) -> dict[str, Callable[..., Any]]:
    def current(what: str) -> tuple[Node, Any]:
        if not host.callbacks.context:
            raise ValueError(f"{what} is known only inside callbacks and buttons")
        return host.callbacks.context[-1]

    def this_knob() -> Any:
        knob = current("thisKnob")[1]
        if knob is None:
            raise ValueError("there is no knob in this callback")
        return knob

    def this_node() -> Any:
        return host.callbacks.context[-1][0] if host.callbacks.context else host.group

    def this_group() -> Group:
        node = this_node()
        return node if isinstance(node, Group) else host.group

    def frame(f: int | None = None) -> int:
        if f is not None:
            host.frame = int(f)
        return host.frame

    return {
        "thisNode": this_node,
        "thisKnob": this_knob,
        "thisGroup": this_group,
        "thisParent": lambda: current("thisParent")[0]._parent,
        "thisClass": lambda: this_node().Class(),
        "thisView": lambda: host.view,
        "thisRoot": lambda: host.root,
        "frame": frame,
        "expression": lambda s: host.expression(s, host.root._knobs["name"], float(host.frame)),
    }


def _files(host: Host) -> dict[str, Callable[..., Any]]:
    def add_path(args: Any, addToSysPath: bool = True, *, front: bool = True) -> None:
        for given in args if isinstance(args, (list, tuple)) else [args]:
            folder = Path(given)
            if not folder.is_absolute():
                caller = next(
                    (
                        Path(f.f_globals["__file__"])
                        for f in _callers()
                        if "__file__" in f.f_globals and "tests/host" not in Path(f.f_globals["__file__"]).as_posix()
                    ),
                    Path.cwd() / "x",
                )
                folder = caller.parent / folder
            folder = Path(os.path.normpath(folder))
            known = folder in host.plugin_path
            if known and front:
                host.plugin_path.remove(folder)
            if front or not known:
                host.plugin_path.insert(0 if front else len(host.plugin_path), folder)
            if addToSysPath and str(folder) not in sys.path:
                sys.path.insert(0 if front else len(sys.path), str(folder))
            if not known and (folder / "init.py").is_file():
                run_plugin_file(host, folder / "init.py")

    def script_name() -> str:
        if not host.script_file:
            raise RuntimeError("script has no name; save it first")
        return host.script_file

    def read_text(s: str) -> None:
        host.scripts.read(s, host.group)

    def copy_nodes(s: str) -> None:
        chosen = [node for node in host.group._children if node.isSelected()]
        text = host.scripts.copied(chosen)
        if s == "%clipboard%":
            host.clipboard = text
        else:
            Path(s).write_text(text, encoding="utf-8")

    def save(filename: str | None = None) -> bool:
        save_script(host, Path(filename or host.script_file), 1)
        return True

    def clear(*args: Any, **kwargs: Any) -> None:
        host.new_root()

    def plugin_exists(name: str) -> bool:
        return any(host.find_plugin(name + end) is not None for end in ("", ".gizmo", ".py", ".tcl"))

    def file_name(node: Node, i: int = 0) -> str | None:
        knob = node._knobs.get("file")
        if not isinstance(knob, File_Knob) or not knob._string:
            return None
        return knob.evaluate() if i & host.constants["REPLACE"] else knob.getValue()

    return {
        "pluginAddPath": add_path,
        "pluginPath": lambda: [str(folder) for folder in host.plugin_path],
        "pluginAppendPath": lambda args, addToSysPath=True: add_path(args, addToSysPath, front=False),
        "pluginExists": plugin_exists,
        "scriptName": script_name,
        "scriptReadText": read_text,
        "scriptReadFile": lambda s: read_text(Path(s).read_text(encoding="utf-8")),
        "scriptOpen": lambda filename=None: open_script(host, Path(filename)),
        "scriptSaveAs": lambda filename=None, overwrite=-1: save_script(host, Path(filename), overwrite),
        "scriptSave": save,
        "scriptClear": clear,
        "nodeCopy": copy_nodes,
        "nodePaste": lambda s: paste(host, host.clipboard if s == "%clipboard%" else Path(s).read_text("utf-8")),
        "filename": file_name,
        "modified": lambda state=None: _modified(host, state),
        "tcl": lambda cmd, *args: host.substitute(
            "[" + " ".join([cmd, *args]) + "]", host.root._knobs["name"], float(host.frame)
        ),
        "script_directory": lambda: str(Path(host.script_file).parent.as_posix()) if host.script_file else "",
    }


def _modified(host: Host, state: bool | None) -> bool:
    if state is not None:
        host.modified = bool(state)
    return host.modified


def _callers() -> list[Any]:
    frame, found = sys._getframe(1), []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return found


__all__ = ["NukeModule", "make_module"]
