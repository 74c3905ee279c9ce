"""The declared stages agree with the parameters, the command line and the committed gizmos."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_core.contract.stage_graph import (
    FLAG_STAGES,
    INPUT_STAGES,
    NETWORK_STAGES,
    NODE_STAGES,
    NODES,
    RENDER_STAGES,
    STAGES,
    list_running_stages,
)

GIZMOS = Path(__file__).parents[2] / "gizmos"


def test_every_stage_reads_only_stages_declared_before_it() -> None:
    """This makes the graph acyclic, and the declared order an order in which the stages can run."""
    names = list(STAGES)
    for place, stage in enumerate(STAGES.values()):
        assert set(stage.upstream) <= set(names[:place]), stage.name
        assert not stage.replaces or stage.replaces in names


def test_stages_are_the_first_parameter_tables() -> None:
    assert list(STAGE_PARAMS)[: len(STAGES)] == list(STAGES)
    assert RENDER_STAGES == ("reenact", "mask", "inpaint", "blend")


def test_a_stage_with_a_network_has_its_parameters() -> None:
    with_network = [name for name in STAGES if "network" in STAGE_PARAMS[name]().to_dict()]
    assert with_network == list(NETWORK_STAGES)


def test_files_that_are_read_have_a_flag_and_an_input() -> None:
    read = {name for stage in STAGES.values() for name in stage.upstream}
    assert set(FLAG_STAGES.values()) == set(INPUT_STAGES.values()) == read


def test_a_drive_runs_in_place_of_the_reenactment() -> None:
    assert list_running_stages("swap") == RENDER_STAGES
    assert list_running_stages("drive", "reenact") == ("drive",)
    assert list_running_stages("drive", "blend") == ("blend",)


def test_every_render_stage_has_one_node() -> None:
    assert sorted(NODE_STAGES.values()) == sorted(RENDER_STAGES)


@pytest.mark.parametrize("name", NODES)
def test_a_node_has_the_inputs_of_its_gizmo(name: str) -> None:
    text = (GIZMOS / f"{name}.gizmo").read_text(encoding="utf-8")
    found = re.findall(r"^ ?Input {(?: inputs 0)? name (\w+)(?: number (\d+))?", text, re.MULTILINE)
    inputs = sorted((int(number or 0), title) for title, number in found)
    assert tuple(title for _, title in inputs) == NODES[name].inputs


@pytest.mark.parametrize("name", NODE_STAGES)
def test_a_stage_node_is_connected_to_the_stages_that_it_reads(name: str) -> None:
    stage = STAGES[NODE_STAGES[name]]
    node = NODES[name]
    assert tuple(INPUT_STAGES[one] for one in node.inputs if one in INPUT_STAGES) == stage.upstream
    assert ("source" in node.inputs) == stage.takes_source
