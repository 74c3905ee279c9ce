"""The node graph, seen from one of our nodes: what is connected, and through what."""

from __future__ import annotations

from typing import Any, Iterator, Optional

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.stage_graph import NODES

# Nodes that hand on what comes in, picture and all.
PASS_THROUGH_CLASSES = ("Dot", "NoOp", "FSGAN_Analyse", "StickyNote")
END_CLASSES = ("Input", "OneView", "JoinViews")  # where the way ends at one of these, nothing is connected
MAX_NODES = 10000  # nodes on one way up


def get_node_class(node: Any) -> str:
    """The node's class; of one of ours that was made a group, the class that it had. "" for None."""
    if node is None:
        return ""
    kind = str(node.Class())
    if kind == "Group" and "fsgan_class" in node.knobs():
        return str(node["fsgan_class"].value())
    return kind


def list_node_stages(node: Any) -> list[tuple[str, str]]:
    """The stages whose parameters stand on a node, each with the prefix of its knobs."""
    declared = NODES.get(get_node_class(node))
    return list(declared.stages) if declared is not None else []


def resolve_link(knob: Any) -> Any:
    """The knob itself; of a link the one that it shows."""
    return knob.getLinkedKnob() if knob.Class() == "Link_Knob" else knob


def is_fsgan_node(node: Any) -> bool:
    return get_node_class(node) in NODES


def find_inner_node(node: Any, name: str) -> Any:
    """A node inside one of ours, or None."""
    return nuke.toNode(f"{node.fullName()}.{name}")


def find_owner(node: Any) -> Optional[Any]:
    """The group or gizmo that holds the node, or None at the root."""
    above = str(node.fullName()).rpartition(".")[0]
    return nuke.toNode(above) if above else None


def find_connected(node: Any, name: str, view: str = "") -> Optional[Any]:
    """What is connected to one of our node's inputs, by its name, as it stands in the graph; None for nothing, also
    where the way leads out of a group to an input that is not connected."""
    above = node.input(NODES[get_node_class(node)].inputs.index(name))
    return above if find_maker(above, view) is not None else None


def walk_up(node: Optional[Any], view: str = "") -> Iterator[tuple[Any, str]]:
    """`node` and, as long as nodes only hand on what they get, those above it, out of the groups that hold them, each
    with the view that is asked of it. The last one makes or changes the picture. view: "" is the script's first."""
    view = view or str(nuke.views()[0])
    for _ in range(MAX_NODES):
        if node is None:
            return
        yield node, view
        node, view = _step_up(node, view)


def _step_up(node: Any, view: str) -> tuple[Optional[Any], str]:
    """The node, and the view of it, that the picture of `node` comes from unchanged; None where this one makes it."""
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
    """The node that makes the picture which arrives through `node`, and the view of it; None where nothing does."""
    way = list(walk_up(node, view))
    return (
        way[-1]
        if way and way[-1][0].Class() not in END_CLASSES and get_node_class(way[-1][0]) not in PASS_THROUGH_CLASSES
        else None
    )


def find_analyse_node(node: Optional[Any], view: str = "") -> Optional[tuple[Any, str]]:
    """The nearest FSGAN_Analyse on the way up that is not disabled, and the view of it, or None."""
    for one, seen in walk_up(node, view):
        if get_node_class(one) == "FSGAN_Analyse" and not _is_disabled(one):
            return one, seen
    return None


def iterate_render_nodes(node: Any) -> Iterator[Any]:
    """Every node of ours that this one's picture depends on, in the order in which they must be rendered; those
    inside it and itself included, if they render."""
    seen: set[str] = set()

    def visit_node(one: Any) -> Iterator[Any]:
        name = str(one.fullName())
        if name in seen:
            return
        seen.add(name)
        if one.Class() == "Input":
            group = find_owner(one)
            above = None if group is None else group.input(_get_input_number(one))
            if above is not None:
                yield from visit_node(above)
            return
        if get_node_class(one) == "FSGAN_Swap":
            last = find_inner_node(one, "Blend")
            if last is not None:
                yield from visit_node(last)
            return
        for number in range(one.inputs()):
            above = one.input(number)
            if above is not None:
                yield from visit_node(above)
        if is_fsgan_node(one) and get_node_class(one) != "FSGAN_Analyse" and not _is_disabled(one):
            yield one

    yield from visit_node(node)


def find_swap(node: Any) -> Optional[Any]:
    """The FSGAN_Swap that holds the node, or None."""
    above = find_owner(node)
    return above if get_node_class(above) == "FSGAN_Swap" else None


def list_swap_render_nodes(swap: Any) -> list[Any]:
    """The nodes of ours inside an FSGAN_Swap that render, in their order. Raises InputError where its last one was
    taken out."""
    prefix = f"{swap.fullName()}."
    return [one for one in iterate_render_nodes(get_render_node(swap)) if str(one.fullName()).startswith(prefix)]


def list_inner_nodes(node: Any) -> list[Any]:
    """The nodes of ours directly inside a swap; of any other, itself."""
    if get_node_class(node) != "FSGAN_Swap":
        return [node]
    return [one for one in node.nodes() if is_fsgan_node(one)]


def get_render_node(node: Any) -> Any:
    """The node whose files one of ours shows: itself, of a swap its inner Blend. Raises InputError where that was
    taken out."""
    if get_node_class(node) != "FSGAN_Swap":
        return node
    last = find_inner_node(node, "Blend")
    if last is None:
        raise InputError(f"{node.name()} has no node Blend inside any more; make a new one")
    return last


def list_render_nodes() -> list[Any]:
    """All nodes of ours in the script that render, those inside groups included."""
    found = nuke.allNodes(group=nuke.root(), recurseGroups=True)
    return [
        node for node in found if is_fsgan_node(node) and get_node_class(node) not in ("FSGAN_Analyse", "FSGAN_Swap")
    ]


def list_upstream_nodes(node: Any) -> list[Any]:
    """`node` and every node that its picture may depend on, each once, out of the groups that hold them."""
    seen: dict[str, Any] = {}
    stack = [node]
    while stack:
        one = stack.pop()
        if one is None or str(one.fullName()) in seen:
            continue
        seen[str(one.fullName())] = one
        stack += [one.input(number) for number in range(one.inputs())]
        if one.Class() == "Input":
            group = find_owner(one)
            stack.append(None if group is None else group.input(_get_input_number(one)))
    return list(seen.values())


def _get_input_number(node: Any) -> int:
    return int(node["number"].value()) if "number" in node.knobs() else 0


def _is_disabled(node: Any) -> bool:
    return "disable" in node.knobs() and bool(node["disable"].value())
