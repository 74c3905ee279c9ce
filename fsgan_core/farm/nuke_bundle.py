"""Makes a farm job from a Nuke script: `fsgan` renders the FSGAN nodes without a Nuke licence, Nuke does the rest.

The job's first task runs Nuke without an interface, because only Nuke can evaluate the nodes' knobs. It writes the
inputs that only Nuke can make, and a file (nodes.json) with what each FSGAN node must render, as a request to a worker.
Then `fsgan` analyses and renders. Last, Nuke executes the Writes and finds every frame of the FSGAN nodes in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fsgan_core.contract.consent import check_consent
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.params.consent import ConsentParams
from fsgan_core.farm.bundle import FarmBundle
from fsgan_core.farm.job_steps import make_script_steps
from fsgan_core.farm.nuke_assets import find_assets
from fsgan_core.farm.nuke_script import NukeScript, ScriptNode, is_node_name, load_script
from fsgan_core.farm.template import (
    FarmOptions,
    check_value_length,
    make_common_parameters,
    make_environment,
    make_path_parameter,
    make_template,
    to_openjd_range,
)
from fsgan_core.plates.sequence import parse_frames
from fsgan_core.runtime.user_paths import expand_home

__all__ = ["make_script_bundle"]

RESULTS_VARIABLE = "FSGAN_RESULTS"  # "rendered": nodes show the existing files and do not ask a worker about them

PREPARE_SCRIPT = """\
# The job's first task: nuke -t prepare.py script=FILE nodes=FILE frames=RANGE writes=NAME,NAME
import sys

from fsgan_nuke import farm

farm.prepare(sys.argv)
"""


# The bundle.


def make_script_bundle(
    path: Path, options: FarmOptions | None = None, *, frames: str = "", writes: Sequence[str] = (), nuke: str = "nuke"
) -> FarmBundle:
    """Makes the job of a Nuke script.

    Args:
        path: The script (.nk).
        options: How the job is divided, and what its machines need.
        frames: Frames of all Writes; empty: each Write's own range.
        writes: Names of the Writes to execute; none: all that are enabled.
        nuke: The command that starts Nuke on the farm's machines.

    Raises:
        InputError: The script cannot be read, has no fitting Write, or has no FSGAN node above one.
        ConsentError: The studio requires a release, and no node above a Write names one that is valid today.
    """
    options = options or FarmOptions()
    if options.chunk < 1:
        raise InputError("a chunk has at least one frame")
    if options.finetune_iterations:
        raise InputError("--finetune is for a shot; fine-tune first, and choose the weights in the nodes")
    path = expand_home(path).absolute()
    script = load_script(path)
    chosen_writes = _choose_writes(script, writes)
    fsgan_nodes = {
        write.name: [node for node in script.list_upstream(write.name) if node.is_fsgan] for write in chosen_writes
    }
    if not any(fsgan_nodes.values()):
        raise InputError(f"no FSGAN node is above {', '.join(fsgan_nodes)} in {path}")
    expired = _check_releases(fsgan_nodes.values())
    ranges = {
        write.name: parse_frames(frames) if frames else _list_write_frames(script, write) for write in chosen_writes
    }
    node_frames = sorted({frame for name in fsgan_nodes if fsgan_nodes[name] for frame in ranges[name]})
    folder = expand_home(options.work_folder or path.parent / "fsgan" / path.stem / "farm").absolute()
    parameters = make_common_parameters(
        options, options.name or path.stem, check_value_length(to_openjd_range(tuple(node_frames))), str(folder)
    )
    parameters |= {
        "NukeScript": (make_path_parameter("FILE", "IN"), str(path)),
        "Prepare": (
            make_path_parameter("FILE", "IN") | {"default": "prepare.py", "description": "Part of this bundle."},
            None,
        ),
        "Nuke": ({"type": "STRING", "default": "nuke", "description": "Nuke on the farm's machines."}, nuke),
    }
    weight_arguments = []
    for number, weight_folder in enumerate(options.weight_folders, start=1):
        parameters[f"Weights{number}"] = (
            make_path_parameter("DIRECTORY", "IN"),
            str(expand_home(weight_folder).absolute()),
        )
        weight_arguments += ["--path", f"weights.{number}=" + "{{Param.Weights" + str(number) + "}}"]
    for number, write in enumerate(chosen_writes, start=1):
        parameters[f"Frames{number}"] = (
            {"type": "STRING", "description": f"Frames of {write.name}."},
            check_value_length(to_openjd_range(ranges[write.name])),
        )
    values = {
        "parameterValues": [
            {"name": name, "value": value} for name, (_, value) in parameters.items() if value is not None
        ]
    }
    template = make_template(
        {name: declared for name, (declared, _) in parameters.items()},
        make_script_steps(chosen_writes, fsgan_nodes, options, weight_arguments),
        [make_environment()],
    )
    template["jobEnvironments"][0]["variables"][RESULTS_VARIABLE] = "rendered"
    found = find_assets(script, path, chosen_writes)
    assets = {
        "assetReferences": {
            "inputs": {
                "filenames": [str(path), *found.files],
                "directories": [*options.weight_folders, *found.input_folders],
            },
            "outputs": {"directories": [str(path.parent / "fsgan" / path.stem), str(folder), *found.output_folders]},
            "referencedPaths": [],
        }
    }
    node_names = sorted({node.name for nodes in fsgan_nodes.values() for node in nodes})
    remarks = [f"warning: {remark}" for remark in (*expired, *_describe_grouped_writes(script), *found.remarks)]
    notes = (f"nodes: {', '.join(node_names)}", f"Writes: {', '.join(ranges)}", *remarks)
    task_count = -(-len(node_frames) // options.chunk)
    return FarmBundle(template, values, assets, None, task_count, {"prepare.py": PREPARE_SCRIPT}, notes)


def _check_releases(nodes_of_writes: Iterable[Sequence[ScriptNode]]) -> list[str]:
    """Checks the releases that nodes name; returns warnings about expired ones.

    This only keeps a job at home that cannot render. Nuke alone knows the value of an expression, and each render
    checks its own release again.
    """
    warnings: dict[str, None] = {}
    for nodes in nodes_of_writes:
        releases = [
            ConsentParams(*(node.knobs.get(f"consent_{name}", "") for name in ("reference", "scope", "expires")))
            for node in nodes
        ]
        named = [release for release in releases if release.reference.strip()]
        for release in named or ([ConsentParams()] if nodes else []):
            if "[" not in release.reference + release.expires:
                warnings[check_consent(release)] = None
    return [warning for warning in warnings if warning]


def _choose_writes(script: NukeScript, names: Sequence[str]) -> list[ScriptNode]:
    writes = script.list_writes()
    if names:
        unknown = sorted(set(names) - {node.name for node in writes})
        if unknown:
            raise InputError(
                f"there is no Write {', '.join(unknown)} that is switched on; there are "
                f"{', '.join(node.name for node in writes) or 'none'}"
            )
        writes = [node for node in writes if node.name in names]
    if not writes:
        remarks = "; ".join(_describe_grouped_writes(script))
        raise InputError(f"the script has no Write at its top that is switched on{'; ' if remarks else ''}{remarks}")
    for write in writes:
        if not is_node_name(write.name):
            raise InputError(f"the Write '{write.name}' has a name that Nuke does not allow; rename it")
    return writes


def _describe_grouped_writes(script: NukeScript) -> list[str]:
    names = [write.name for write in script.list_grouped_writes()]
    if not names:
        return []
    return [
        f"Writes inside groups are not part of the job: {', '.join(names)}; put a Write at the top of the script "
        "for what they write"
    ]


def _list_write_frames(script: NukeScript, write: ScriptNode) -> tuple[int, ...]:
    first_frame, last_frame = script.find_write_range(write)
    return parse_frames(f"{first_frame}-{max(first_frame, last_frame)}")
