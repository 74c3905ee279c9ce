"""The script's colour management in the worker's words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsgan_core.contract.errors import ColourError
from tests.host import Host, new_host
from tests.nuke.conftest import plugin


@pytest.fixture
def host(environment: Path) -> Iterator[Host]:
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "fsgan_nuke"}
    with new_host() as session:
        plugin(session)
        yield session
        for name in [name for name in sys.modules if name.split(".")[0] == "fsgan_nuke"]:
            del sys.modules[name]
    sys.modules.update(kept)


def test_an_untouched_script_is_linear(host: Host) -> None:
    from fsgan_nuke.colour import read_project_colour, read_space

    colour = read_project_colour()
    assert (colour.config, colour.working_space, colour.management) == ("", "lin_rec709_srgb", "Nuke")
    for file, wanted in (("a.####.exr", "lin_rec709_srgb"), ("a.jpg", "srgb_tx"), ("a.dpx", ""), ("a.xyz", "")):
        assert read_space(host.module.nodes.Read(file=file), colour) == wanted, file
    assert read_space(host.module.nodes.Read(file="a.jpg", raw=True), colour) == "lin_rec709_srgb"


def test_ocio(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fsgan_nuke.colour import read_project_colour

    root = host.module.root()
    root["colorManagement"].setValue("OCIO")
    root["workingSpaceLUT"].setValue("ACES/ACEScg\tACEScg")
    monkeypatch.setenv("OCIO", "/studio/config.ocio")
    assert read_project_colour().config == "/studio/config.ocio", "the variable wins over the project"
    monkeypatch.delenv("OCIO")
    config = tmp_path / "mine.ocio"
    config.write_text("")
    root["OCIO_config"].setValue("custom")
    root["customOCIOConfigPath"].setValue(config.as_posix())
    assert read_project_colour().config == config.as_posix()
    assert read_project_colour().working_space == "ACEScg"
    root["OCIO_config"].setValue("nuke-default")
    with pytest.raises(ColourError, match="nuke-default"):
        read_project_colour()


def test_nukes_own_configs(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their file is used where Nuke tells it, with variables in its path; else OCIO's config of the same name."""
    from fsgan_nuke.colour import read_project_colour

    monkeypatch.delenv("OCIO", raising=False)
    root = host.module.root()
    root["colorManagement"].setValue("OCIO")
    root["workingSpaceLUT"].setValue("scene_linear")
    names = root["OCIO_config"]
    for name in ("cg-config-v1.0.0_aces-v1.3_ocio-v2.1", "studio-config-v2.1.0_aces-v1.3_ocio-v2.3"):
        names.setValues([*names.values(), f"fn-nuke_{name}"])
        names.setValue(f"fn-nuke_{name}")
        assert read_project_colour().config == f"ocio://{name}"
    config = tmp_path / "fn-nuke_cg.ocio"
    config.write_text("")
    monkeypatch.setenv("CONFIGS", tmp_path.as_posix())
    root["OCIOConfigPath"].setValue("[getenv CONFIGS]/fn-nuke_cg.ocio")
    assert read_project_colour().config == config.as_posix()
