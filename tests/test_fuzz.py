"""A small part of the mutation run (`python -m tests.fuzz`): every reader, some inputs each."""

from __future__ import annotations

import random
from pathlib import Path

from tests.fuzz import mutate, run


def test_nothing_but_refusals(tmp_path: Path) -> None:
    outcome = run(3, 300, tmp_path)
    assert outcome.findings == []
    assert sum(outcome.counts.values()) == 300 and min(outcome.counts["read"], outcome.counts["refused"]) > 30


def test_an_input_can_be_made_again() -> None:
    first, second = (mutate(b"some text with 12 numbers", random.Random("1 track 7")) for _ in range(2))
    assert first == second
