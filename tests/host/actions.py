"""Functions of the module `nuke` that a person would notice: menus, questions, renders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.host import gui
from tests.host.nodes import Node
from tests.host.render import frames_of
from tests.host.values import FrameRange, FrameRanges

if TYPE_CHECKING:
    from tests.host.session import Host


def interface(host: Host) -> dict[str, Callable[..., Any]]:
    known = {"Nuke", "Nodes", "Node Graph", "Properties", "Animation", "Viewer", "Pane", "Axis"}

    def menu(name: str) -> Any:
        host.require_gui("nuke.menu")
        if name not in known:
            raise RuntimeError(f"there is no menu {name!r}; there are {', '.join(sorted(known))}")
        return host.menus.setdefault(name, gui.ToolBar(name) if name == "Nodes" else gui.MenuBar(name))

    def toolbar(name: str, create: bool = True) -> Any:
        host.require_gui("nuke.toolbar")
        return host.menus.setdefault(name, gui.ToolBar(name))

    def ask_with_cancel(prompt: str) -> bool:
        answer = host.ask("askWithCancel", prompt)
        if answer is None:
            raise host.module.CancelledError("Cancelled")
        return bool(answer)

    return {
        "menu": menu,
        "toolbar": toolbar,
        "message": lambda prompt: host.ask("message", prompt),
        "alert": lambda prompt: host.ask("message", prompt),
        "ask": lambda prompt: bool(host.ask("ask", prompt)),
        "askWithCancel": ask_with_cancel,
        "critical": lambda message: host.messages.append(("critical", message)),
        "getInput": lambda prompt, default="": host.ask("getInput", prompt),
        "getFilename": lambda message, *args, **kwargs: host.ask("getFilename", message),
        "getFramesAndViews": lambda label, default=None, maxviews=0: host.ask("getFramesAndViews", label),
        "choice": lambda title, prompt, options, default=0: host.ask("choice", prompt),
        "openPanels": lambda: [node.name() for node in host.root._descendants() if node._panel_open],
    }


def rendering(host: Host) -> dict[str, Callable[..., Any]]:
    def execute(nameOrNode: Node | str, *args: Any, **kwargs: Any) -> None:
        node = host.find(nameOrNode) if isinstance(nameOrNode, str) else nameOrNode
        if node is None:
            raise ValueError(f"no node {nameOrNode!r}")
        ranges = bool(args and isinstance(args[0], (FrameRange, FrameRanges))) or "frameRangeSet" in kwargs
        rest = args[1:] if ranges and args else args[3:]
        views = kwargs.get("views", rest[0] if rest else None)
        host.renderer.execute(
            node,
            frames_of(args, kwargs),
            views,
            bool(kwargs.get("continueOnError", rest[1] if len(rest) > 1 else False)),
        )

    def execute_multiple(nodes: Any, ranges: Any, views: Any = None, continueOnError: bool = False) -> None:
        for node in sorted(nodes, key=lambda item: item._number("render_order")):
            for first, last, step in ranges:
                host.renderer.execute(node, list(FrameRange(first, last, step)), views, continueOnError)

    def cancel() -> None:
        host.renderer.cancelled = True

    return {
        "execute": execute,
        "render": execute,
        "executeMultiple": execute_multiple,
        "cancel": cancel,
        "executing": lambda f=None: host.renderer.running,
    }
