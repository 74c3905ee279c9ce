"""`fsgan doctor`."""

from __future__ import annotations

import json

import pytest

from fsgan_core.cli import main


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ok"] else 3)
    assert found["colour"]["scene_linear"] and "cpu" in found["devices"]["list"]
    assert found["engines"]["blend"]["poisson"] == ""
    assert main(["doctor"]) == code
    assert "engines" in capsys.readouterr().out
