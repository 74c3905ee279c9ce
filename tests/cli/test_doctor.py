"""`fsgan doctor`."""

from __future__ import annotations

import importlib.metadata
import json
import sys

import pytest

from fsgan_core.cli import main
from fsgan_core.contract.shot import Stages
from fsgan_core.doctor import describe_installation, examine_installation
from fsgan_core.render.engines import choose_engine


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ok"] else 3)
    assert found["colour"]["scene_linear"] and "cpu" in found["devices"]["list"]
    assert found["engines"]["blend"]["poisson"] == ""
    assert main(["doctor"]) == code
    assert "engines" in capsys.readouterr().out


def test_engine_that_auto_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """The same one that a render takes."""
    assert main(["doctor", "--json"]) in (0, 3)
    auto = json.loads(capsys.readouterr().out)["auto"]
    stages = ("reenact", "drive", "mask", "inpaint", "blend")
    assert auto == {stage: choose_engine(stage, Stages()).name for stage in stages}
    assert main(["doctor"]) in (0, 3)
    lines = capsys.readouterr().out.splitlines()
    for stage in stages:
        assert any(line.startswith(f"  {stage} ") and line.endswith(f" (auto takes {auto[stage]})") for line in lines)


def test_packages_are_the_declared_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_no_version(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    lines = ["numpy>=2.4", "rich-argparse>=1.8", "matplotlib>=3.11; extra == 'charts'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda package: lines)
    assert set(examine_installation()["packages"]) == {"numpy", "rich-argparse"}
    monkeypatch.setattr(importlib.metadata, "version", find_no_version)
    found = examine_installation()
    assert not found["ok"] and found["problems"][:2] == ["numpy is not installed", "rich-argparse is not installed"]
    assert "python3 install.py" in list(describe_installation(found))[-1]


def test_an_installation_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_no_requirements(package: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "requires", find_no_requirements)
    assert examine_installation()["packages"] == {}


def test_licence_class_of_each_face_model() -> None:
    found = examine_installation()
    lines = "\n".join(describe_installation(found))
    assert found["faces"]["models"]["mesh"] == {
        "use": "analyse.detector=mesh",
        "licence": "commercial",
        "missing": "",
    }
    assert found["faces"]["models"]["dlib"]["licence"] == "non-commercial"
    assert found["faces"]["networks"]["mesh"] == {"name": "mediapipe_face_mesh", "licence": "commercial"}
    assert "mediapipe_hand (licence commercial)" in lines and "analyse.landmarks=dlib " in lines


def test_dlib_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it all is well, and the line says how to get it."""
    monkeypatch.setitem(sys.modules, "dlib", None)
    found = examine_installation()
    assert "fsgan[dlib]" in found["faces"]["models"]["dlib"]["missing"]
    assert not [problem for problem in found["problems"] if "dlib" in problem]
