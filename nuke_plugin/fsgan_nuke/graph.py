"""The node graph, seen from one of our nodes: what is connected, and through what."""

from __future__ import annotations

from typing import Any, Iterator, Optional

import nuke

from fsgan_core.contract.errors import InputError

OURS = ("FSGAN_Analyse", "FSGAN_Reenact", "FSGAN_Mask", "FSGAN_Inpaint", "FSGAN_Blend", "FSGAN_Swap", "FSGAN_Drive")
INPUTS = {
    "FSGAN_Analyse": ("target",),
    "FSGAN_Reenact": ("target", "source"),
    "FSGAN_Mask": ("target", "holdout"),
    "FSGAN_Inpaint": ("target", "reenacted", "mattes", "source", "holdout"),
    "FSGAN_Blend": ("target", "completed", "mattes", "holdout", "mask"),
    "FSGAN_Swap": ("target", "source", "holdout", "mask"),
    "FSGAN_Drive": ("target", "driver", "holdout", "mask"),
}
# Nodes that hand on what comes in, picture and all.
PASSING = ("Dot", "NoOp", "FSGAN_Analyse", "StickyNote")
ENDS = ("Input", "OneView", "JoinViews")  # where the way ends at one of these, nothing is connected
MOST = 10000  # nodes on one way up


def kind_of(node: Any) -> str:
    """The node's class; of one of ours that was made a group, the class that it had. "" for None."""
    if node is None:
        return ""
    kind = str(node.Class())
    if kind == "Group" and "fsgan_class" in node.knobs():
        return str(node["fsgan_class"].value())
    return kind


def stages_of(node: Any) -> list[tuple[str, str]]:
    """The stages whose parameters stand on a node, each with the prefix of its knobs."""
    kind = kind_of(node)
    if kind == "FSGAN_Swap":
        return [(stage, f"{stage}_") for stage in ("reenact", "mask", "inpaint", "blend")]
    if kind == "FSGAN_Drive":
        return [("drive", ""), ("mask", "mask_")]
    return [(kind.partition("_")[2].lower(), "")] if kind in OURS else []


def behind(knob: Any) -> Any:
    """The knob itself; of a link the one that it shows."""
    return knob.getLinkedKnob() if knob.Class() == "Link_Knob" else knob


def is_ours(node: Any) -> bool:
    return kind_of(node) in OURS


def inner(node: Any, name: str) -> Any:
    """A node inside one of ours, or None."""
    return nuke.toNode(f"{node.fullName()}.{name}")


def owner(node: Any) -> Optional[Any]:
    """The group or gizmo that holds the node, or None at the root."""
    above = str(node.fullName()).rpartition(".")[0]
    return nuke.toNode(above) if above else None


def connected(node: Any, name: str, view: str = "") -> Optional[Any]:
    """What is connected to one of our node's inputs, by its name, as it stands in the graph; None for nothing, also
    where the way leads out of a group to an input that is not connected."""
    above = node.input(INPUTS[kind_of(node)].index(name))
    return above if maker(above, view) is not None else None


def way_up(node: Optional[Any], view: str = "") -> Iterator[tuple[Any, str]]:
    """`node` and, as long as nodes only hand on what they get, those above it, out of the groups that hold them, each
    with the view that is asked of it. The last one makes or changes the picture. view: "" is the script's first."""
    view = view or str(nuke.views()[0])
    for _ in range(MOST):
        if node is None:
            return
        yield node, view
        node, view = _above(node, view)


def _above(node: Any, view: str) -> tuple[Optional[Any], str]:
    """The node, and the view of it, that the picture of `node` comes from unchanged; None where this one makes it."""
    if node.Class() == "Input":
        group = owner(node)
        return (None if group is None else group.input(_number(node))), view
    if kind_of(node) in PASSING or _is_disabled(node):
        return (node.input(0) if node.inputs() else None), view
    if node.Class() == "OneView":
        return node.input(0), str(node["view"].value())
    if node.Class() == "JoinViews" and view in nuke.views():  # one input for each view
        return node.input(nuke.views().index(view)), view
    return None, view


def maker(node: Optional[Any], view: str = "") -> Optional[tuple[Any, str]]:
    """The node that makes the picture which arrives through `node`, and the view of it; None where nothing does."""
    way = list(way_up(node, view))
    return way[-1] if way and way[-1][0].Class() not in ENDS and kind_of(way[-1][0]) not in PASSING else None


def analyse_node(node: Optional[Any], view: str = "") -> Optional[tuple[Any, str]]:
    """The nearest FSGAN_Analyse on the way up that is not disabled, and the view of it, or None."""
    for one, seen in way_up(node, view):
        if kind_of(one) == "FSGAN_Analyse" and not _is_disabled(one):
            return one, seen
    return None


def ours_above(node: Any) -> Iterator[Any]:
    """Every node of ours that this one's picture depends on, in the order in which they must be rendered; those
    inside it and itself included, if they render."""
    seen: set[str] = set()

    def visit(one: Any) -> Iterator[Any]:
        name = str(one.fullName())
        if name in seen:
            return
        seen.add(name)
        if one.Class() == "Input":
            group = owner(one)
            above = None if group is None else group.input(_number(one))
            if above is not None:
                yield from visit(above)
            return
        if kind_of(one) == "FSGAN_Swap":
            last = inner(one, "Blend")
            if last is not None:
                yield from visit(last)
            return
        for number in range(one.inputs()):
            above = one.input(number)
            if above is not None:
                yield from visit(above)
        if is_ours(one) and kind_of(one) != "FSGAN_Analyse" and not _is_disabled(one):
            yield one

    yield from visit(node)


def swap_of(node: Any) -> Optional[Any]:
    """The FSGAN_Swap that holds the node, or None."""
    above = owner(node)
    return above if kind_of(above) == "FSGAN_Swap" else None


def inside(swap: Any) -> list[Any]:
    """The nodes of ours inside an FSGAN_Swap that render, in their order. Raises InputError where its last one was
    taken out."""
    prefix = f"{swap.fullName()}."
    return [one for one in ours_above(renders(swap)) if str(one.fullName()).startswith(prefix)]


def inside_or_self(node: Any) -> list[Any]:
    """The nodes of ours directly inside a swap; of any other, itself."""
    if kind_of(node) != "FSGAN_Swap":
        return [node]
    return [one for one in node.nodes() if is_ours(one)]


def renders(node: Any) -> Any:
    """The node whose files one of ours shows: itself, of a swap its inner Blend. Raises InputError where that was
    taken out."""
    if kind_of(node) != "FSGAN_Swap":
        return node
    last = inner(node, "Blend")
    if last is None:
        raise InputError(f"{node.name()} has no node Blend inside any more; make a new one")
    return last


def every_one() -> list[Any]:
    """All nodes of ours in the script that render, those inside groups included."""
    found = nuke.allNodes(group=nuke.root(), recurseGroups=True)
    return [node for node in found if is_ours(node) and kind_of(node) not in ("FSGAN_Analyse", "FSGAN_Swap")]


def all_above(node: Any) -> list[Any]:
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
            group = owner(one)
            stack.append(None if group is None else group.input(_number(one)))
    return list(seen.values())


def _number(node: Any) -> int:
    return int(node["number"].value()) if "number" in node.knobs() else 0


def _is_disabled(node: Any) -> bool:
    return "disable" in node.knobs() and bool(node["disable"].value())
