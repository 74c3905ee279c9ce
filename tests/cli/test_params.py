"""`fsgan params`, and the page that is made with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsgan_core.cli import main
from fsgan_core.cli.reference import PAGE_COMMAND, build_parameter_page
from fsgan_core.contract.params import STAGE_PARAMS

ROOT = Path(__file__).parents[2]


class TestParams:
    def test_page_is_fresh(self) -> None:
        page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
        assert page == build_parameter_page(STAGE_PARAMS), f"docs/parameters.md is stale; run: {PAGE_COMMAND}"

    def test_markdown_is_the_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["params", "--markdown"]) == 0
        assert capsys.readouterr().out == build_parameter_page(STAGE_PARAMS)

    def test_one_stage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["params", "blend"]) == 0
        out = capsys.readouterr().out
        assert "blend.mix = 1" in out and "mask.feather" not in out

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["params", "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert set(data) == set(STAGE_PARAMS)
        assert data["blend"]["mix"] == {
            "kind": "float",
            "default": 1.0,
            "label": "mix",
            "minimum": 0.0,
            "maximum": 1.0,
            "help": data["blend"]["mix"]["help"],
            "animatable": True,
        }
