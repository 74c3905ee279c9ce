"""Stereo: the script's views, which of them a node renders, and paths that contain a view's name."""

from __future__ import annotations

from typing import Any

import nuke

from fsgan_core.contract.errors import InputError
from fsgan_nuke import graph

VIEWS_KNOB = "stereo_views"
VIEW_VARIABLE = "%V"  # in a path: the view's name; %v is its first letter


def list_views() -> tuple[str, ...]:
    """Lists all views of the script; the first one is the default."""
    return tuple(str(name) for name in nuke.views())


def has_several_views() -> bool:
    """Whether the script has more than one view."""
    return len(list_views()) > 1


def list_node_views(node: Any) -> tuple[str, ...]:
    """Lists the views that a node renders: those of its knob (inside a swap, the swap's knob), else all.

    Raises:
        InputError: The script does not have one of them.
    """
    owner = graph.find_swap(node) or node
    named = str(graph.resolve_link(owner[VIEWS_KNOB]).value() or "") if VIEWS_KNOB in owner.knobs() else ""
    chosen_views = named.replace(",", " ").split()
    script_views = list_views()
    for view in chosen_views:
        if view not in script_views:
            raise InputError(f"{owner.name()}: the script has no view '{view}'; it has {', '.join(script_views)}")
    return tuple(view for view in script_views if view in chosen_views) or script_views


def fill_view(path: str, view: str) -> str:
    """Fills a view into a path: %V is its name, %v its first letter."""
    return path.replace(VIEW_VARIABLE, view).replace("%v", view[:1])


def list_written_views(write: Any) -> tuple[str, ...]:
    """Lists the views that a Write renders; all if its knob cannot be read."""
    value = write["views"].value() if "views" in write.knobs() else ""
    view_names = value if isinstance(value, (list, tuple)) else str(value or "").replace(",", " ").split()
    return tuple(view for view in list_views() if view in view_names) or list_views()
