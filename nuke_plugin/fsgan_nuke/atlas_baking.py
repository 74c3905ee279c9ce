"""Bake atlas: the worker writes the source's atlas, and a Read node shows it, to be painted on."""

from __future__ import annotations

import functools
from typing import Any

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import CancelledError, FsganError
from fsgan_nuke import exports, graph, input_writes, paths, status, stereo
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import call_later
from fsgan_nuke.node_job import make_node_job
from fsgan_nuke.request import PendingRequest
from fsgan_nuke.view_window import find_reenact_node


def bake_atlas(node: Any) -> None:
    """Bakes the atlas of the source of an FSGAN_Reenact or FSGAN_Swap; a Read node appears when it is written.

    Without a GUI it is written when this returns.

    Raises:
        InputError: An input is missing, or the script has no file.
        FsganError: Without a GUI, the worker could not write it.
    """
    reenact_node = find_reenact_node(node)
    requests = []
    for view in stereo.list_node_views(reenact_node):
        job = make_node_job(reenact_node, view=view)
        input_writes.write_inputs(reenact_node, job)
        output = paths.get_atlas_path(reenact_node, view)
        requests.append(
            get_shared_client().request(
                protocol.AtlasRequest(shot=job.shot, output=output),
                on_end=functools.partial(call_later, _show_atlas, node, view, output),
            )
        )
    status.show_status(node, status.Status(status.RENDERING, "baking the atlas"))
    if not nuke.GUI:
        for request in requests:
            request.wait()


def _show_atlas(node: Any, view: str, output: str, request: PendingRequest) -> None:
    """Shows the atlas in a Read node beside the node. On the main thread."""
    if not graph.exists(node) or isinstance(request.error, CancelledError):
        return
    if request.error is not None:
        status.show_status(node, status.make_error_status(FsganError(f"Bake atlas: {request.error}")))
        return
    exports.make_node(node, "Read", f'file "{output}"', "FSGAN_Atlas", view)
    facts = request.result or {}
    status.show_status(
        node,
        status.Status(
            status.UP_TO_DATE,
            f"atlas baked, {facts.get('size')} px",
            f"{output}: paint on R, G and B, write the file under another name, and name it in the knob 'atlas'. "
            "What you painted then shows in every frame.",
        ),
    )
