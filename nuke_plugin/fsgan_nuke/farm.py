"""Renders a script on a farm: `FSGAN > Submit to farm...`, and the job's first task, which runs in Nuke."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import uuid
from typing import Any, Dict, List, Sequence

import nuke

from fsgan_core.contract import protocol
from fsgan_core.contract.errors import FsganError, InputError
from fsgan_core.contract.safe_text import escape_line
from fsgan_nuke import graph, input_writes, paths, stereo
from fsgan_nuke.client import get_shared_client
from fsgan_nuke.host import show_message
from fsgan_nuke.node_job import make_node_job
from fsgan_nuke.process import make_worker_environment
from fsgan_nuke.request import PendingRequest
from fsgan_nuke.settings import load_settings

NODES_VERSION = 1
RESULTS_VARIABLE = "FSGAN_RESULTS"  # "rendered": an earlier step of the farm's job has rendered the FSGAN nodes
SUBMIT_VARIABLE = "FSGAN_SUBMIT"  # the command that submits a job's folder


def results_are_rendered() -> bool:
    """Whether an earlier step of the farm's job has rendered the frames of the FSGAN nodes."""
    return os.environ.get(RESULTS_VARIABLE) == "rendered"


# The job's first task.


def prepare(arguments: Sequence[str]) -> None:
    """Opens a script, writes the inputs that only Nuke can render, and a file with the job of each FSGAN node.

    Args:
        arguments: The command line: script=FILE, nodes=FILE (to write), frames=RANGE, writes=NAME,NAME.

    Raises:
        FsganError: An input cannot be written, or a Write does not exist.
    """
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    try:
        nuke.scriptOpen(options["script"])
        write_nodes(
            options["nodes"],
            options["frames"].replace(":", "x"),
            [name for name in options.get("writes", "").split(",") if name],
        )
    except FsganError as error:
        # Read by the farm; Nuke prints the traceback.
        print(f"openjd_fail: {escape_line(' '.join(str(error).split()))}", flush=True)
        raise


def write_nodes(file: str, frames: str, writes: Sequence[str]) -> List[str]:
    """Writes the inputs and the jobs of the FSGAN nodes above some Writes.

    Args:
        file: The JSON file to write.
        frames: Frame range, as in a knob.
        writes: Names of the Writes.

    Returns:
        Names of the nodes; in a stereo script each with its view.

    Raises:
        FsganError: An input cannot be written, or a Write does not exist.
    """
    nodes: Dict[str, Any] = {}
    for name in writes:
        write = graph.find_node(name)
        if write is None:
            raise InputError(f"the script has no Write {name}")
        for node in graph.iterate_render_nodes(write):
            for view in stereo.list_written_views(write):
                name = str(node.fullName()) + (f"_{view}" if stereo.has_several_views() else "")
                nodes[name] = (node, view)
    data = []
    for name, (node, view) in nodes.items():
        job = make_node_job(node, frames, view)
        if job.branches:
            input_writes.write_inputs(node, job)
        data.append({"node": name, "shot": job.shot, "stage": job.stage, "upstream": job.upstream})
    os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
    beside = f"{file}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    with open(beside, "w", encoding="utf-8") as stream:
        json.dump({"version": NODES_VERSION, "nodes": data}, stream, indent=1)
    os.replace(beside, file)
    return list(nodes)


# The menu.


def submit_to_farm() -> None:
    """Asks for the job's options, saves the script, has the worker write the job, and runs the submit command."""
    try:
        folder = f"{paths.get_work_folder()}/job"
        writes = _list_writes()
    except FsganError as error:
        show_message(str(error))
        return
    panel: Any = nuke.Panel("FSGAN: submit to farm")
    panel.addSingleLineInput("Writes", " ".join(writes))
    panel.addSingleLineInput("frames (empty: those of each Write)", "")
    panel.addSingleLineInput("frames per task", "10")
    panel.addEnumerationPulldown(
        "machines with a GPU", "yes no" if load_settings().device.startswith("cuda") else "no yes"
    )
    panel.addFilenameSearch("job folder", folder)
    panel.addSingleLineInput("Nuke command on the farm", "nuke")
    panel.addSingleLineInput("submit command", os.environ.get(SUBMIT_VARIABLE, ""))
    if not panel.show():
        return
    chunk = str(panel.value("frames per task")).strip()
    if not chunk.isdigit() or not int(chunk):
        show_message(f"'{chunk}' is not a number of frames.")
        return
    nuke.scriptSave()
    command = str(panel.value("submit command") or "")
    message = protocol.BundleRequest(
        script=str(nuke.root()["name"].value()),
        output=str(panel.value("job folder")),
        writes=tuple(str(panel.value("Writes") or "").replace(",", " ").split()),
        frames=str(panel.value("frames (empty: those of each Write)") or ""),
        chunk=int(chunk),
        gpu=str(panel.value("machines with a GPU")) == "yes",
        nuke=str(panel.value("Nuke command on the farm") or "nuke"),
    )

    get_shared_client().request(message, on_end=lambda request: _on_bundle_made(request, command))


def _list_writes() -> List[str]:
    """Lists the enabled top-level Writes below FSGAN nodes; only the selected ones, if any is. Raises InputError."""
    writes = [
        node
        for node in nuke.allNodes("Write", nuke.root())
        if not node["disable"].value() and any(True for _ in graph.iterate_render_nodes(node))
    ]
    if not writes:
        raise InputError("no enabled Write of this script has an FSGAN node above it")
    chosen_writes = [node for node in writes if node in nuke.selectedNodes("Write")] or writes
    return sorted(str(node.name()) for node in chosen_writes)


def _on_bundle_made(request: PendingRequest, command: str) -> None:
    """Shows the result and runs the submit command; called in a thread of the client."""
    if request.error is not None:
        show_message(f"The job could not be made: {request.error}")
        return
    bundle = request.result or {}
    text = "\n".join([f"The job is in {bundle['folder']}.", *bundle["notes"], f"Steps: {', '.join(bundle['steps'])}"])
    if not command:
        show_message(f"{text}\n\nSubmit it with: deadline bundle submit {bundle['folder']}")
        return
    try:
        # The worker's environment lacks the variables that Nuke sets for its own libraries.
        submit_command = [*shlex.split(command, posix=os.name != "nt"), str(bundle["folder"])]
        process = subprocess.run(
            submit_command,
            env=make_worker_environment(load_settings()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        output = process.stdout.decode("utf-8", "replace").strip()[-1000:]
        failure = f" (exit code {process.returncode})" if process.returncode else ""
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        output, failure = str(error), " (failed)"
    show_message(f"{text}\n\n{command}{failure}\n{output}")
