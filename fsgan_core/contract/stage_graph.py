"""The stages of a job: their order, what each one reads, and what each is called on the command line and in Nuke.

    target, source -> reenact ----> inpaint -> blend -> final picture
    target ---------> mask -------> inpaint
                      mask -----------------> blend

`analyse` comes before all of them: it writes the tracks of the clips, and every stage needs the target's track. In a
drive the stage `drive` takes the place of `reenact`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

__all__ = [
    "FINAL",
    "FLAG_STAGES",
    "INPUT_STAGES",
    "NETWORK_STAGES",
    "NODES",
    "NODE_STAGES",
    "RENDER_STAGES",
    "STAGES",
    "UPSTREAM_STAGES",
    "NodeDeclaration",
    "StageDeclaration",
    "list_running_stages",
]

FINAL = "final"  # the finished picture, as written by a swap or a drive


@dataclass(frozen=True)
class StageDeclaration:
    """One stage.

    Attributes:
        name: As in shot files, parameters and requests.
        upstream: Stages whose files it reads, in the order of its node's inputs.
        has_network: Whether one of its engines uses network weights of its own.
        takes_source: Whether it can use the source's clips (in a drive: the driver's).
        needs_source: Whether it cannot run without them.
        flag: Command line flag, without dashes, by which later stages are given its files; empty: no stage reads them.
        node_input: Input of later nodes to which its node is connected; empty: none.
        replaces: The stage whose place it takes in a drive; empty: none.
    """

    name: str
    upstream: tuple[str, ...] = ()
    has_network: bool = False
    takes_source: bool = False
    needs_source: bool = False
    flag: str = ""
    node_input: str = ""
    replaces: str = ""


STAGES: Mapping[str, StageDeclaration] = {
    stage.name: stage
    for stage in (
        StageDeclaration("analyse"),
        StageDeclaration(
            "reenact",
            has_network=True,
            takes_source=True,
            needs_source=True,
            flag="reenacted",
            node_input="reenacted",
        ),
        StageDeclaration("mask", has_network=True, flag="mask", node_input="mattes"),
        StageDeclaration(
            "inpaint",
            upstream=("reenact", "mask"),
            has_network=True,
            takes_source=True,
            flag="completed",
            node_input="completed",
        ),
        StageDeclaration("blend", upstream=("inpaint", "mask"), has_network=True),
        StageDeclaration("drive", takes_source=True, needs_source=True, replaces="reenact"),
    )
}

# Stages that can be rendered alone, in the order of a swap.
RENDER_STAGES: tuple[str, ...] = tuple(
    name for name, stage in STAGES.items() if name != "analyse" and not stage.replaces
)
NETWORK_STAGES: tuple[str, ...] = tuple(name for name, stage in STAGES.items() if stage.has_network)
UPSTREAM_STAGES: Mapping[str, tuple[str, ...]] = {name: STAGES[name].upstream for name in RENDER_STAGES}
FLAG_STAGES: Mapping[str, str] = {stage.flag: name for name, stage in STAGES.items() if stage.flag}
INPUT_STAGES: Mapping[str, str] = {stage.node_input: name for name, stage in STAGES.items() if stage.node_input}


def list_running_stages(job: str, stage: str = "") -> tuple[str, ...]:
    """Lists the stages that a render runs, in order.

    Args:
        job: "swap" or "drive".
        stage: The one stage that is rendered; empty: the whole job.

    >>> list_running_stages("drive")
    ('drive', 'mask', 'inpaint', 'blend')
    >>> list_running_stages("swap", "mask")
    ('mask',)
    """
    stages = (stage,) if stage else RENDER_STAGES
    if job != "drive":
        return stages
    replaced = {other.replaces: name for name, other in STAGES.items() if other.replaces}
    return tuple(replaced.get(name, name) for name in stages)


@dataclass(frozen=True)
class NodeDeclaration:
    """One node of the Nuke plugin.

    Attributes:
        inputs: Names of its inputs, in order.
        stages: Stages whose parameters are on its panel, each with the prefix of its knobs.
        stage: The stage whose files it writes; empty: the finished picture of a whole job, or none.
    """

    inputs: tuple[str, ...]
    stages: tuple[tuple[str, str], ...]
    stage: str = ""


NODES: Mapping[str, NodeDeclaration] = {
    "FSGAN_Analyse": NodeDeclaration(("target",), (("analyse", ""),)),
    "FSGAN_Reenact": NodeDeclaration(("target", "source"), (("reenact", ""),), "reenact"),
    "FSGAN_Mask": NodeDeclaration(("target", "holdout"), (("mask", ""),), "mask"),
    "FSGAN_Inpaint": NodeDeclaration(
        ("target", "reenacted", "mattes", "source", "holdout"), (("inpaint", ""),), "inpaint"
    ),
    "FSGAN_Blend": NodeDeclaration(("target", "completed", "mattes", "holdout", "mask"), (("blend", ""),), "blend"),
    "FSGAN_Swap": NodeDeclaration(
        ("target", "source", "holdout", "mask"), tuple((stage, f"{stage}_") for stage in RENDER_STAGES)
    ),
    "FSGAN_Drive": NodeDeclaration(("target", "driver", "holdout", "mask"), (("drive", ""), ("mask", "mask_"))),
}
NODE_STAGES: Mapping[str, str] = {name: node.stage for name, node in NODES.items() if node.stage}
