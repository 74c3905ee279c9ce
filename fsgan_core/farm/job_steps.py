"""The steps of a farm job, and the task that each step runs: for a shot, and for a Nuke script.

Each task is a call of `fsgan farm task` (see `farm.task_runner`) or of Nuke. `farm.bundle` and `farm.nuke_bundle` put
the steps into a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fsgan_core.contract.shot import Shot
from fsgan_core.farm.nuke_script import ScriptNode
from fsgan_core.farm.shot_paths import collect_paths
from fsgan_core.farm.template import (
    FarmOptions,
    check_literal,
    make_action,
    make_chunk_space,
    make_session_environment,
    make_step,
    make_task_action,
)
from fsgan_core.runtime.user_paths import is_plain_file

__all__ = ["make_script_steps", "make_shot_steps"]

NODES_FILE = "nodes.json"  # in the work folder: what each FSGAN node of a script must render


def make_shot_steps(
    shot: Shot,
    arguments: Mapping[str, str],
    made_files: Mapping[str, str],
    options: FarmOptions,
    start_weights: str = "",
) -> list[dict[str, Any]]:
    """Makes the steps of a shot's job.

    AnalyseSources, Finetune and AnalyseTarget are there only if their result is missing or asked for. Then
    come Render, with a task for each chunk of frames, and Report.

    Args:
        shot: The shot that the tasks render.
        arguments: Its paths by name, as the tasks' command lines give them.
        made_files: Paths by name of the tracks that the job makes.
        options: How the job is divided, and what its machines need.
        start_weights: File or name of the weights from which fine-tuning starts.
    """

    def make_run_action(task: str, *more: str, paths: Mapping[str, str] = arguments) -> dict[str, Any]:
        path_arguments = [word for name, path in paths.items() for word in ("--path", f"{name}={path}")]
        return make_task_action(task, "{{Param.ShotFile}}", options, *more, *path_arguments)

    steps: list[dict[str, Any]] = []
    earlier_steps: list[str] = []
    source_numbers = [name.split(".")[1] for name in made_files if name.startswith("source.")]
    if source_numbers:
        steps.append(
            make_step(
                "AnalyseSources",
                make_run_action("analyse-source", "--number", "{{Task.Param.Source}}"),
                options,
                space={"name": "Source", "type": "INT", "range": [int(number) for number in source_numbers]},
            )
        )
        earlier_steps.append("AnalyseSources")
    if options.finetune_iterations:
        finetune_paths = {name: text for name, text in arguments.items() if name != "reenact.network"}
        if start_weights and "reenact.network" in collect_paths(shot) and is_plain_file(start_weights):
            finetune_paths["reenact.network"] = "{{Param.ReenactNetwork}}"
        steps.append(
            make_step(
                "Finetune",
                make_run_action(
                    "finetune",
                    "--iterations",
                    str(options.finetune_iterations),
                    "--licence",
                    options.finetune_licence,
                    "--start",
                    "" if "reenact.network" in finetune_paths else check_literal(start_weights),
                    paths=finetune_paths,
                ),
                options,
                earlier_steps=list(earlier_steps),
            )
        )
        earlier_steps.append("Finetune")
    if "target.track" in made_files:
        steps.append(
            make_step("AnalyseTarget", make_run_action("analyse-target", "--frames", "{{Param.TargetFrames}}"), options)
        )
        earlier_steps.append("AnalyseTarget")
    steps.append(
        make_step(
            "Render",
            make_run_action("render", "--frames", "{{Task.Param.Frames}}", "--expect", "{{Param.Expected}}"),
            options,
            earlier_steps=earlier_steps,
            space=make_chunk_space(),
        )
    )
    steps.append(
        make_step(
            "Report",
            make_run_action("report", "--frames", "{{Param.Frames}}"),
            options,
            earlier_steps=["Render"],
            light=True,
        )
    )
    return steps


def make_script_steps(
    writes: Sequence[ScriptNode],
    fsgan_nodes: Mapping[str, Sequence[ScriptNode]],
    options: FarmOptions,
    weight_arguments: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Makes the steps of a Nuke script's job: Prepare (in Nuke), Analyse, Nodes, and one step for each Write (in Nuke).

    Args:
        writes: The Writes to execute.
        fsgan_nodes: The FSGAN nodes above each Write, by the Write's name.
        options: How the job is divided, and what its machines need.
        weight_arguments: Arguments of a task's command line that name the folders of weights.
    """
    nodes_file = "{{Param.WorkFolder}}/" + NODES_FILE
    write_names = ",".join(name for name, nodes in fsgan_nodes.items() if nodes)
    steps = [
        make_step(
            "Prepare",
            make_action(
                "{{Param.Nuke}}",
                [
                    "-t",
                    "{{Param.Prepare}}",
                    "script={{Param.NukeScript}}",
                    "frames={{Param.Frames}}",
                    f"writes={write_names}",
                    f"nodes={nodes_file}",
                ],
                options,
            ),
            options,
            light=True,
        ),
        make_step(
            "Analyse",
            make_task_action("analyse-nodes", nodes_file, options, "--frames", "{{Param.Frames}}", *weight_arguments),
            options,
            earlier_steps=["Prepare"],
        ),
        make_step(
            "Nodes",
            make_task_action(
                "render-nodes", nodes_file, options, "--frames", "{{Task.Param.Frames}}", *weight_arguments
            ),
            options,
            earlier_steps=["Analyse"],
            space=make_chunk_space(),
        ),
    ]
    if options.has_session:  # only here: machines that execute Writes need no fsgan
        steps[-1]["stepEnvironments"] = [make_session_environment()]
    earlier_writes: list[tuple[int, str]] = []
    for number, write in enumerate(writes, start=1):
        order = write.get_integer("render_order") or 1
        required_steps = ["Nodes"] * bool(fsgan_nodes[write.name]) + [
            name for earlier_order, name in earlier_writes if earlier_order < order
        ]
        name = f"Write {write.name}"[:64]
        action = make_action(
            "{{Param.Nuke}}", ["-X", write.name, "-F", "{{Task.Param.Frames}}", "{{Param.NukeScript}}"], options
        )
        steps.append(
            make_step(
                name,
                action,
                options,
                earlier_steps=required_steps,
                space=make_chunk_space(f"Frames{number}", contiguous=True),
                light=True,
            )
        )
        earlier_writes.append((order, name))
    return steps
