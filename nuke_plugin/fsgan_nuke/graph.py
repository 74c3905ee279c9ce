"""Walks the node graph from an FSGAN node: what is connected, and through which nodes."""

from __future__ import annotations

from typing import Any, Iterator, Optional

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.stage_graph import NODES

# Nodes that pass their input on unchanged.
PASS_THROUGH_CLASSES = ("Dot", "NoOp", "FSGAN_Analyse", "StickyNote")
END_CLASSES = ("Input", "OneView", "JoinViews")  # if the walk ends at one of these, nothing is connected
SWAP_STAGES = ("Reenact", "Mask", "Inpaint", "Blend")  # names of the nodes inside a swap
MAX_NODES = 10000  # nodes on one walk up


def get_node_class(node: Any) -> str:
    """Returns the node's class; for a group that was an FSGAN gizmo, the gizmo's class; "" for None."""
    if node is None:
        return ""
    kind = str(node.Class())
    if kind == "Group" and "fsgan_class" in node.knobs():
        return str(node["fsgan_class"].value())
    return kind


def list_node_stages(node: Any) -> list[tuple[str, str]]:
    """Lists the stages whose parameters are on a node, each with the prefix of its knobs."""
    declared = NODES.get(get_node_class(node))
    return list(declared.stages) if declared is not None else []


def resolve_link(knob: Any) -> Any:
    """Returns the knob behind a link; other knobs are returned unchanged."""
    return knob.getLinkedKnob() if knob.Class() == "Link_Knob" else knob


def is_fsgan_node(node: Any) -> bool:
    """Whether a node is one of ours."""
    return get_node_class(node) in NODES


def find_inner_node(node: Any, name: str) -> Any:
    """Returns a node inside one of ours by its name, or None."""
    return node.node(name)


def find_node(full_name: str) -> Any:
    """Returns a node by its full name, or None.

    A bare name would be looked up in the current group first, where an inner node may have the same name.
    """
    return nuke.toNode(f"root.{full_name}")


def exists(node: Any) -> bool:
    """Whether a node has not been deleted; Nuke raises ValueError for every use of a deleted node."""
    try:
        return node.fullName() is not None
    except ValueError:
        return False


def find_owner(node: Any) -> Optional[Any]:
    """Returns the group or gizmo that contains the node, or None at the top level."""
    owner_name = str(node.fullName()).rpartition(".")[0]
    return find_node(owner_name) if owner_name else None


def find_connected(node: Any, name: str, view: str = "") -> Optional[Any]:
    """Returns the node that is connected to an input, by the input's name.

    It is None for nothing, and also if the walk leads out of a group to an input that is not connected.
    """
    connected = node.input(NODES[get_node_class(node)].inputs.index(name))
    return connected if find_maker(connected, view) is not None else None


def walk_up(node: Optional[Any], view: str = "") -> Iterator[tuple[Any, str]]:
    """Walks up from a node through nodes that pass their input on unchanged, and out of groups.

    Args:
        node: Where to start.
        view: View of the picture; "" is the script's first.

    Yields:
        Each node, and the view that is needed of it. The last node makes or changes the picture.
    """
    view = view or str(nuke.views()[0])
    for _ in range(MAX_NODES):
        if node is None:
            return
        yield node, view
        node, view = _step_up(node, view)


def _step_up(node: Any, view: str) -> tuple[Optional[Any], str]:
    """Returns the node and view that the picture of `node` comes from unchanged; None if `node` makes it."""
    if node.Class() == "Input":
        group = find_owner(node)
        return (None if group is None else group.input(_get_input_number(node))), view
    if get_node_class(node) in PASS_THROUGH_CLASSES or _is_disabled(node):
        return (node.input(0) if node.inputs() else None), view
    if node.Class() == "OneView":
        return node.input(0), str(node["view"].value())
    if node.Class() == "JoinViews" and view in nuke.views():  # one input for each view
        return node.input(nuke.views().index(view)), view
    return None, view


def find_maker(node: Optional[Any], view: str = "") -> Optional[tuple[Any, str]]:
    """Finds the node that makes the picture of `node`, and its view; None if nothing is connected."""
    path_up = list(walk_up(node, view))
    return (
        path_up[-1]
        if path_up
        and path_up[-1][0].Class() not in END_CLASSES
        and get_node_class(path_up[-1][0]) not in PASS_THROUGH_CLASSES
        else None
    )


def find_analyse_node(node: Optional[Any], view: str = "") -> Optional[tuple[Any, str]]:
    """Finds the nearest enabled FSGAN_Analyse above a node, and its view; None if there is none."""
    for upstream_node, needed_view in walk_up(node, view):
        if get_node_class(upstream_node) == "FSGAN_Analyse" and not _is_disabled(upstream_node):
            return upstream_node, needed_view
    return None


def iterate_render_nodes(node: Any) -> Iterator[Any]:
    """Iterates over the FSGAN nodes that a node's picture depends on, in the order in which they must be rendered.

    The node itself and nodes inside it are included, if they render.
    """
    visited_names: set[str] = set()

    def visit_node(visited_node: Any) -> Iterator[Any]:
        name = str(visited_node.fullName())
        if name in visited_names:
            return
        visited_names.add(name)
        if visited_node.Class() == "Input":
            group = find_owner(visited_node)
            input_node = None if group is None else group.input(_get_input_number(visited_node))
            if input_node is not None:
                yield from visit_node(input_node)
            return
        if _is_disabled(visited_node):  # Nuke passes the first input through
            input_node = visited_node.input(0) if visited_node.inputs() else None
            if input_node is not None:
                yield from visit_node(input_node)
            return
        if get_node_class(visited_node) == "FSGAN_Swap":
            last = find_inner_node(visited_node, "Blend")
            if last is not None:
                yield from visit_node(last)
            return
        for number in range(visited_node.inputs()):
            input_node = visited_node.input(number)
            if input_node is not None:
                yield from visit_node(input_node)
        if is_fsgan_node(visited_node) and get_node_class(visited_node) != "FSGAN_Analyse":
            yield visited_node

    yield from visit_node(node)


def find_swap(node: Any) -> Optional[Any]:
    """Returns the FSGAN_Swap that contains the node, or None."""
    owner = find_owner(node)
    return owner if get_node_class(owner) == "FSGAN_Swap" else None


def list_swap_render_nodes(swap: Any) -> list[Any]:
    """Lists the FSGAN nodes inside an FSGAN_Swap in the order of rendering.

    Raises:
        InputError: Its Blend node was removed.
    """
    prefix = f"{swap.fullName()}."
    return [
        render_node
        for render_node in iterate_render_nodes(get_render_node(swap))
        if str(render_node.fullName()).startswith(prefix)
    ]


def list_inner_nodes(node: Any) -> list[Any]:
    """Lists the FSGAN nodes directly inside a swap; for any other node, only the node itself."""
    return list_nodes_inside(node) if get_node_class(node) == "FSGAN_Swap" else [node]


def list_nodes_inside(group: Any) -> list[Any]:
    """Lists the FSGAN nodes directly inside a group, in the order of creation.

    The stages of a swap are also asked for by name, since small editions of Nuke list only ten nodes.
    """
    found = {str(inner_node.name()): inner_node for inner_node in group.nodes() if is_fsgan_node(inner_node)}
    for name in SWAP_STAGES:
        inner_node = find_inner_node(group, name)
        if is_fsgan_node(inner_node):
            found.setdefault(name, inner_node)
    return list(found.values())


def get_render_node(node: Any) -> Any:
    """Returns the node whose files a node shows: for a swap its inner Blend, else the node itself.

    Raises:
        InputError: The swap's Blend node was removed.
    """
    if get_node_class(node) != "FSGAN_Swap":
        return node
    last = find_inner_node(node, "Blend")
    if last is None:
        raise InputError(f"{node.name()} no longer has a Blend node inside; make a new FSGAN_Swap")
    return last


_seen_nodes: list[Any] = []  # FSGAN nodes that Nuke has created in this session


def remember_node(node: Any) -> None:
    """Remembers a node that was created, loaded or pasted: small editions of Nuke do not list all nodes."""
    _seen_nodes.append(node)


def list_all_nodes() -> list[Any]:
    """Lists all FSGAN nodes of the script, also inside groups."""
    _seen_nodes[:] = [node for node in _seen_nodes if exists(node)]
    listed = [node for node in nuke.allNodes(group=nuke.root(), recurseGroups=True) if is_fsgan_node(node)]
    names = {str(node.fullName()) for node in listed}
    for node in _seen_nodes:
        name = str(node.fullName())
        if name not in names and find_node(name) is not None:
            names.add(name)
            listed.append(node)
    return listed


def list_render_nodes() -> list[Any]:
    """Lists all FSGAN nodes of the script that render, also inside groups."""
    return [node for node in list_all_nodes() if get_node_class(node) not in ("FSGAN_Analyse", "FSGAN_Swap")]


def list_upstream_nodes(node: Any) -> list[Any]:
    """Lists `node` and every node that its picture may depend on, each once; the walk leads out of groups."""
    upstream: dict[str, Any] = {}
    stack = [node]
    while stack:
        upstream_node = stack.pop()
        if upstream_node is None or str(upstream_node.fullName()) in upstream:
            continue
        upstream[str(upstream_node.fullName())] = upstream_node
        stack += [upstream_node.input(number) for number in range(upstream_node.inputs())]
        if upstream_node.Class() == "Input":
            group = find_owner(upstream_node)
            stack.append(None if group is None else group.input(_get_input_number(upstream_node)))
    return list(upstream.values())


def _get_input_number(node: Any) -> int:
    return int(node["number"].value()) if "number" in node.knobs() else 0


def _is_disabled(node: Any) -> bool:
    return "disable" in node.knobs() and bool(node["disable"].value())
