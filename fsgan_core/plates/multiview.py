"""Several views (left and right eye) in one part of an EXR, distinguished by channel names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fsgan_core.contract.layers import META_VIEW
from fsgan_core.plates.plate import Plate, TypedValue


def list_shared_views(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Lists the views that share one part; the first is the one without a view in its channel names."""
    views = metadata.get("multiView")
    if isinstance(views, TypedValue):
        return tuple(views.value)
    return (views,) if isinstance(views, str) else ()


def select_view(plate: Plate, part: str) -> Plate:
    """Gives the channels of one view their plain names, in a part with several views.

    EXR stores channel X of a further view as VIEW.X, and layer.X as layer.VIEW.X. The channels of the first view get
    its name instead, so nothing is lost and `write_exr` restores all names.

    Args:
        plate: The part.
        part: Name of the view. The plate is returned unchanged if it is the first view or not there.
    """
    views = list_shared_views(plate.metadata)
    if part not in views[1:]:
        return plate
    renamed = tuple(_swap_view_name(name, part, views[0], views) for name in plate.channels)
    return _rename_channels(plate, renamed, {**plate.metadata, META_VIEW: part})


def restore_view_names(plate: Plate) -> Plate:
    """Undoes `select_view`."""
    chosen = plate.metadata.get(META_VIEW)
    if chosen is None:
        return plate
    views = list_shared_views(plate.metadata)
    renamed = tuple(_swap_view_name(name, views[0], chosen, views) if views else name for name in plate.channels)
    return _rename_channels(
        plate, renamed, {name: value for name, value in plate.metadata.items() if name != META_VIEW}
    )


def _swap_view_name(name: str, plain: str, named: str, views: Sequence[str]) -> str:
    """Removes the view `plain` from a channel name, or inserts `named` if the name has no view."""
    *layers, channel = name.split(".")
    if layers and layers[-1] == plain:
        return ".".join([*layers[:-1], channel])
    if layers and layers[-1] in views:
        return name
    return ".".join([*layers, named, channel])


def _rename_channels(plate: Plate, channels: tuple[str, ...], metadata: Mapping[str, Any]) -> Plate:
    names = dict(zip(plate.channels, channels, strict=True))
    return Plate(
        plate.pixels,
        channels,
        plate.data_window,
        plate.display_window,
        plate.pixel_aspect,
        metadata,
        plate.formats,
        {names[name]: exact for name, exact in plate.integers.items()},
    )
