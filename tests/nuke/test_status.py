"""What a node says of itself: short beside it, whole in the tooltip."""

from __future__ import annotations

import pytest
from fsgan_nuke import status

from fsgan_core.contract.errors import InputError


@pytest.mark.parametrize("letters", [status.MAX_LINE_LENGTH, status.MAX_LINE_LENGTH + 1])
def test_a_long_error_is_cut_beside_the_node_and_says_so(letters: int) -> None:
    found = status.make_error_status(InputError("x" * letters + "\nmore"))
    assert found.state == status.FAILED and found.details == "x" * letters + "\nmore"
    assert len(found.line) == status.MAX_LINE_LENGTH
    assert found.line.endswith("...") == (letters > status.MAX_LINE_LENGTH)


def test_a_swap_names_the_node_inside_it_once() -> None:
    done, failed = status.Status(status.UP_TO_DATE, "up to date (2 frames)"), status.Status(status.FAILED, "no face")
    assert status.combine_stage_statuses({"Mask": failed, "Blend": done}).line == "Mask: no face"
    assert status.combine_stage_statuses(
        {"Mask": status.Status(status.FAILED, "Mask: no face"), "Blend": done}
    ).line == ("Mask: no face")
    assert status.combine_stage_statuses({"Mask": done, "Blend": done}).line == "up to date (2 frames)"


def test_no_text_opens_a_tag_or_a_command() -> None:
    said = status.clean_text('<b>[exec rm] {a} $x "q" C:\\d; Output > file')
    assert not set(said) & set('<[]{}$\\"')
    assert said.endswith("Output > file")


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("analyse", "analysing 3/9"),
        ("frame", "rendering 3/9"),
        ("", "rendering 3/9"),
    ],
)
def test_rendering_status_names_the_step(step: str, line: str) -> None:
    assert status.make_rendering_status(3, 9, step).line == line


def test_nothing_to_count_yet() -> None:
    assert [status.make_rendering_status(0, 0, step).line for step in ("", "writing inputs")] == [
        "starting",
        "writing inputs",
    ]
