"""One Nuke session: its graph, its mode, and the module that plugin code imports."""

from __future__ import annotations

import queue
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.host import api, constants, tcl
from tests.host import expression as expressions
from tests.host.callbacks import Callbacks
from tests.host.evaluate import Evaluator
from tests.host.groups import Group, Root
from tests.host.knobs import Array_Knob, Knob
from tests.host.native import make_knob
from tests.host.nodes import Node
from tests.host.picture import Picture
from tests.host.render import Renderer
from tests.host.script import Scripts
from tests.host.textknobs import Link_Knob, String_Knob
from tests.host.values import Channels, Format, parse_format

MODES = ("gui", "-t", "-x")


class Host:
    """A session. Everything a test asks or does that is no part of Nuke's API is here, not in the module.

    mode: "gui" (an artist's), "-t" (Python in a terminal) or "-x" (a render node). edition: "nc" or "indie" shows
    Python ten nodes. arguments: the command line, as nuke.rawArgs gives it. As a context it installs its
    module as `nuke` in sys.modules, and takes away again what was imported meanwhile from the plugin path.
    """

    def __init__(
        self,
        mode: str = "gui",
        version: tuple[int, int, int] = (15, 0, 1),
        group_writes: bool = False,
        edition: str = "",
        arguments: Sequence[str] = (),
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
        from tests.host.module import make_module

        self.mode, self.gui, self.version, self.group_writes = mode, mode == "gui", version, group_writes
        self.main_thread = threading.current_thread()
        self.frame, self.view, self.modified = 1, "main", False
        self.edition = edition  # "", or the key of nuke.env that is true: "nc", "indie"
        self.constants: dict[str, Any] = {
            **constants.NUMBERS,
            **_version(version),
            "rawArgs": list(arguments),
            "GUI": self.gui,
            "INTERACTIVE": mode == "gui",
        }
        # What a test looks at afterwards.
        self.messages: list[tuple[str, str]] = []  # (kind, text): message, ask, error, warning, tprint, ...
        self.answers: list[Any] = []  # what questions are answered with, the first one first
        self.progress: list[dict[str, Any]] = []
        self.cancel_tasks = False
        self.startup_errors: list[tuple[Path, BaseException]] = []
        self.undo_steps: list[str] = []
        self.undo_disabled = 0
        self._undo_open: list[str] = []
        self.clipboard = ""
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue()
        self._serving = False  # whether a call of another thread runs
        self._modules: set[str] = set()
        self._path: list[str] = []
        self.channels = Channels()
        self.formats: list[Format] = [parse_format(text) for text in constants.FORMATS]
        self.plugin_path: list[Path] = []
        self.knob_defaults: dict[str, str] = {}
        self.script_file = ""
        self.menus: dict[str, Any] = {}
        self.presets: dict[tuple[str, str, bool], dict[str, str]] = {}  # class, name, of the user -> knob -> text
        self.callbacks = Callbacks(self)
        self.scripts = Scripts(self)
        self.evaluator = Evaluator(self)
        self.renderer = Renderer(self)
        api.push_host(self)
        try:
            self.group: Group
            self.root = self.new_root()
            self.module: Any = make_module(self)
        finally:
            api.pop_host(self)

    # Installing.

    def __enter__(self) -> Host:
        api.push_host(self)
        self._modules = set(sys.modules)
        self._path = list(sys.path)
        self._before = {
            name: sys.modules.pop(name) for name in list(sys.modules) if name == "nuke" or name.startswith("nuke.")
        }
        for name, module in self.module._submodules().items():
            sys.modules[name] = module
        return self

    def __exit__(self, *exception: object) -> None:
        for name in set(sys.modules) - self._modules | {"nuke"}:
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None)
            if name == "nuke" or name.startswith("nuke.") or (file and self._on_plugin_path(Path(file))):
                sys.modules.pop(name, None)
        sys.modules.update(self._before)
        sys.path[:] = self._path
        api.pop_host(self)

    def _on_plugin_path(self, file: Path) -> bool:
        return any(folder in file.parents for folder in self.plugin_path)

    # The graph.

    def new_root(self) -> Root:
        root = Root(self, "Root", None)
        for name, facts in constants.ROOT_KNOBS.items():
            root._own(make_knob(name, facts))
        self.root = self.group = root
        self.modified = False
        return root

    def proxy_scale(self) -> float:
        """What proxy mode multiplies pictures and positions by; 1 while it is off."""
        root = self.root
        if not root._number("proxy"):
            return 1.0
        kind: Any = root._knobs["proxy_type"]
        if kind.value() == "scale":
            return root._number("proxy_scale")
        proxy: Any = root._knobs["proxy_format"]
        return float(proxy.value().width() / self.format("", None).width())

    def views(self) -> tuple[str, ...]:
        """Names in the root's knob `views`, a line each with its colour behind it."""
        text = self.root._knobs["views"]._text()
        found = [words[0] for words in (tcl.split(line) for line in text.replace("\\n", "\n").splitlines()) if words]
        return tuple(found) or ("main",)

    def views_of(self, write: Node) -> tuple[str, ...]:
        """The views that a Write renders: those of its knob that the script has, else the current one."""
        knob: Any = write._knobs["views"]
        return tuple(view for view in self.views() if view in knob._text().split()) or (self.view,)

    def set_views(self, *names: str) -> None:
        """As a person does it in the Project Settings; the first one is shown."""
        self.root._knobs["views"]._set_text("\n".join(f"{name} #ffffff" for name in names))
        self.view = names[0]

    def find(self, name: str, group: Group | None = None) -> Node | None:
        """A node by name or dotted path, from `group` (the current one) down, else from the root.

        A name that begins with `root.` is looked up from the root only.
        """
        if name == "root":
            return self.root
        starts = (self.root,) if name.startswith("root.") else (group or self.group, self.root)
        for start in starts:
            here: Node | None = start
            for part in name.removeprefix("root.").split("."):
                children = here._children if isinstance(here, Group) else []
                here = next((node for node in children if node.name() == part), None)
                if here is None:
                    break
            if here is not None:
                return here
        return None

    def knob_by_path(self, path: str, origin: Knob) -> Knob | None:
        """`parent.mix`, `Grade1.white`, `this.x`, `mix`, `root.fps`, as seen from a knob."""
        *steps, last = path.split(".")
        here = self.node_by_steps(steps, origin)
        found = here._knobs.get(last) if here is not None else None
        return found.getLinkedKnob() if isinstance(found, Link_Knob) and found is not origin else found

    def node_by_steps(self, steps: list[str], origin: Knob) -> Node | None:
        """The node that `parent.Grade1` leads to, as seen from a knob; the knob's own for no steps."""
        here: Node | None = origin._node
        if here is not None and steps and not re.fullmatch(r"parent|this|root|input\d*", steps[0]):
            # A plain name is a node beside this one, or, for a group's own knobs, one inside it.
            inside = here._children if isinstance(here, Group) else []
            beside = here._parent._children if here._parent is not None else []
            here = next((node for node in [*inside, *beside] if node.name() == steps[0]), None)
            steps = steps[1:]
        for step in steps:
            if here is None:
                return None
            if step == "parent":
                here = here._parent
            elif step == "root":
                here = self.root
            elif re.fullmatch(r"input\d*", step):
                here = here.input(int(step.removeprefix("input") or 0))
            elif step != "this":
                here = next((n for n in (here._children if isinstance(here, Group) else []) if n.name() == step), None)
        return here

    def expression(self, text: str, knob: Knob, frame: float) -> float:
        """Raises ExpressionError for anything that is not there."""
        return expressions.evaluate(
            text, lambda name: self._lookup(name, knob, frame), lambda command: self.substitute(command, knob, frame)
        )

    def _lookup(self, name: str, knob: Knob, frame: float) -> float:
        if name in ("frame", "t", "x"):
            return frame
        if name == "$gui":
            return float(self.gui)
        if name == "$nuke_version":
            major, minor, release = self.version
            return major + minor / 10 + release / 1000
        found = self.knob_by_path(name, knob)
        index = 0
        if found is None and "." in name:
            stem, _, last = name.rpartition(".")
            found = self.knob_by_path(stem, knob)
            places = {letter: place for letters in ("xyz", "rgba", "uv", "wh") for place, letter in enumerate(letters)}
            if type(found).__name__ == "BBox_Knob":
                places = {"x": 0, "y": 1, "r": 2, "t": 3}
            if last not in places and not last.isdigit():
                found = None
            else:
                index = int(last) if last.isdigit() else places[last]
        if found is None:
            asked = self._of_picture(name, knob, frame)
            if asked is not None:
                return asked
        if not isinstance(found, Array_Knob):
            raise expressions.ExpressionError(f"{knob.fullyQualifiedName()}: no number is called {name!r}")
        return found._number(index, frame)

    def _of_picture(self, name: str, knob: Knob, frame: float) -> float | None:
        """What an expression may ask of a node's picture: width, height, bbox.x ..., format.w ..., first_frame."""
        found = re.fullmatch(
            r"(?:(.+)\.)?(width|height|pixel_aspect|first_frame|last_frame|bbox\.[xyrtwh]"
            r"|format\.[xyrtwh])",
            name,
        )
        node = self.node_by_steps(found[1].split(".") if found[1] else [], knob) if found else None
        if found is None or node is None:
            return None
        if found[2] in ("first_frame", "last_frame"):
            return float(self.evaluator.frame_range(node)[found[2] == "last_frame"])
        picture = self.evaluator.header(node, frame)
        shape, box = picture.format, picture.bbox
        values = {
            "width": shape.width(),
            "height": shape.height(),
            "pixel_aspect": shape.pixelAspect(),
            "bbox.x": box.x,
            "bbox.y": box.y,
            "bbox.r": box.r,
            "bbox.t": box.t,
            "bbox.w": box.r - box.x,
            "bbox.h": box.t - box.y,
            "format.x": shape.x(),
            "format.y": shape.y(),
            "format.r": shape.r(),
            "format.t": shape.t(),
            "format.w": shape.width(),
            "format.h": shape.height(),
        }
        return float(values[found[2]])

    def substitute(self, text: str, knob: Knob, frame: float) -> str:
        """Tcl in a text: [value knob], [frame], [knob ...], [expr ...]. Raises TclError for every other command."""

        def value(path: str, *rest: str) -> str:
            found = self.knob_by_path(path, knob)
            if found is None:
                raise tcl.TclError(f"no knob {path}")
            if isinstance(found, Array_Knob):
                numbers = [found._number(place, frame) for place in range(len(found._components))]
                shown = found.value() if not isinstance(found.value(), list) else None
                return str(shown) if isinstance(shown, str) else " ".join(f"{number:g}" for number in numbers)
            return str(found._string if isinstance(found, String_Knob) else found._text())

        root_name = Path(self.script_file).as_posix() if self.script_file else ""
        return tcl.substitute(
            text,
            {
                "value": value,
                "knob": value,
                "frame": lambda: f"{frame:g}",
                "exists": lambda path: str(int(self._exists(path, knob))),
                "root.name": lambda: root_name,
                "getenv": _getenv,
            },
        )

    def _exists(self, path: str, knob: Knob) -> bool:
        """Whether there is such a knob, or such a node: `parent.input2` is there where it is connected."""
        here: Node | None = knob._node
        for step in path.split("."):
            if here is None:
                break
            if step.startswith("input") and step[5:].isdigit():
                here = here.input(int(step[5:]))
            else:
                here = here._parent if step == "parent" else here if step == "this" else self.find(step)
        return here is not None or self.knob_by_path(path, knob) is not None

    def format(self, text: str, node: Node | None) -> Format:
        """By name or by numbers; "" is the project's. Raises ValueError."""
        if not text:
            knob: Any = self.root._knobs["format"]
            return self.format(knob._format_text or "2K_Super_35", None)
        for known in self.formats:
            if known._format_name == text:
                return known
        if text[:1].isdigit():
            return parse_format(text)
        raise ValueError(f"there is no format {text!r}")

    # Files of the plugin path.

    def find_plugin(self, name: str) -> Path | None:
        return next((folder / name for folder in self.plugin_path if (folder / name).is_file()), None)

    # Code.

    def run_python(self, code: str, node: Node | None, knob: Any, where: str, inside: bool = False) -> None:
        """Code of a knob or a menu item, as Nuke runs it: with `nuke` and what __main__ holds.

        A button of a group or gizmo runs `inside` it: the node itself is the current group.
        """
        names: dict[str, Any] = {"__name__": "__main__", "nuke": self.module}
        compiled = compile(code, f"<{where}>", "exec")
        if node is None:
            exec(compiled, names)
        else:
            with self.callbacks.within(node, knob, inside=inside):
                exec(compiled, names)

    def pump(self, timeout: float = 0.0) -> int:
        """Runs what other threads asked of the main thread, as an idle Nuke does; waits up to `timeout` seconds for
        the first. The number of calls that ran."""
        done = 0
        while True:
            try:
                task = self._queue.get(timeout=timeout) if timeout and not done else self._queue.get_nowait()
            except queue.Empty:
                return done
            self._serving = True
            try:
                task()
            finally:
                self._serving = False
            done += 1

    def pump_until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Serves the main thread until `condition()` holds. Raises TimeoutError."""
        import time

        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not so within {timeout} seconds")
            self.pump(0.02)

    def idle(self) -> None:
        """What an idle GUI does: calls of other threads, then updateUI for every node."""
        self.pump()
        if self.gui:
            for node in list(self.root._descendants()):
                self.callbacks.fire("UpdateUI", node)

    # What a person does.

    def require_gui(self, what: str) -> None:
        if not self.gui:
            raise RuntimeError(f"{what} needs Nuke's interface; this is nuke {self.mode}")

    def ask(self, kind: str, text: str, default: Any = None) -> Any:
        """Records a question and answers it from self.answers."""
        if not isinstance(text, str):
            raise TypeError(f"{kind} takes a text, not {type(text).__name__}")
        self.require_gui(f"nuke.{kind}")
        api.check_thread(f"nuke.{kind}")
        if self._serving:
            raise RuntimeError(f"nuke.{kind} in a call of another thread: a modal window there can freeze Nuke")
        self.messages.append((kind, text))
        if kind == "message":
            return None
        if not self.answers:
            raise AssertionError(f"nobody answers nuke.{kind}({text!r}): put the answer in host.answers")
        return self.answers.pop(0)

    def set_knob(self, node: Node, name: str, value: Any) -> None:
        """As if typed in the node's panel: opens it, sets, and knobChanged fires."""
        self.require_gui("a panel")
        node._panel_open = True
        knob = node[name]
        (knob.getLinkedKnob() if isinstance(knob, Link_Knob) else knob).setValue(value)

    def press(self, node: Node, name: str) -> None:
        """The button `name` of the node's panel."""
        knob: Any = node.knob(name, True) or node[name]
        knob.execute()

    def choose(self, path: str, menu: str = "Nuke") -> None:
        """Menu item `path`, as host.choose("FSGAN/Swap", "Nodes"). Raises KeyError where there is none."""
        item = self.module.menu(menu).findItem(path)
        if item is None:
            raise KeyError(f"menu {menu} has no {path}")
        item.invoke()

    def picture(self, node: Node | str, frame: float | None = None, view: str = "") -> Picture:
        """What a node gives. Raises EvaluationError."""
        found = self.find(node) if isinstance(node, str) else node
        if found is None:
            raise KeyError(f"no node {node}")
        return self.evaluator.picture(found, frame, view)

    # Undo.

    def undo_value(self, name: str) -> None:
        """A value that was set outside a named step is a step of its own."""
        if self.gui and not self._undo_open and not self.undo_disabled:
            self.undo_steps.append(name)

    def undo_begin(self, name: str) -> None:
        self._undo_open.append(name)

    def undo_name(self, name: str) -> None:
        if self._undo_open:
            self._undo_open[-1] = name

    def undo_end(self, *, cancelled: bool = False) -> None:
        if not self._undo_open:
            raise RuntimeError("Undo.end without Undo.begin")
        name = self._undo_open.pop()
        if not self._undo_open and not cancelled and not self.undo_disabled:
            self.undo_steps.append(name)

    @contextmanager
    def undo_step(self, name: str) -> Iterator[None]:
        self.undo_begin(name)
        try:
            yield
        finally:
            self.undo_end()


def _version(version: tuple[int, int, int]) -> dict[str, Any]:
    major, minor, release = version
    return {
        "NUKE_VERSION_MAJOR": major,
        "NUKE_VERSION_MINOR": minor,
        "NUKE_VERSION_RELEASE": release,
        "NUKE_VERSION_STRING": f"{major}.{minor}v{release}",
        "NUKE_VERSION_PHASE": "",
        "NUKE_VERSION_DATE": "",
        "NUKE_VERSION_PHASENUMBER": 0,
        "EXE_PATH": f"/usr/local/Nuke{major}.{minor}v{release}/Nuke{major}.{minor}",
        "NUM_CPUS": 2,
        "THREADS": 2,
        "PLUGIN_EXT": "so",
        "rawArgs": [],
    }


def _getenv(name: str, default: str = "") -> str:
    import os

    return os.environ.get(name, default)


def new_host(mode: str = "gui", **settings: Any) -> Host:
    """A fresh session; use it as a context: `with new_host() as host:`."""
    return Host(mode, **settings)


Module = types.ModuleType
