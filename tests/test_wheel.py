"""The built wheel: complete, and at work outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip unpacks it; the dependencies are this environment's."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    place = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def run_fsgan(installed: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`fsgan` of the wheel, away from the checkout. -P leaves the working directory out of the module path."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("FSGAN", "XDG", "PYTHON", "COV"))
    }
    environment |= {"PYTHONPATH": str(installed), "HOME": str(home)}
    command = [sys.executable, "-P", "-m", "fsgan_core.cli", *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


class TestContent:
    def test_every_data_file_is_in_it(self, installed: Path) -> None:
        """All that git tracks in the four folders, nothing else."""
        listed = subprocess.run(
            ["git", "ls-files", "fsgan_core", "nuke_plugin", "gizmos", "docs"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\n")
        names = {name for name in listed if name and (ROOT / name).exists()}
        expected = {name if name.startswith("fsgan_core/") else f"fsgan_core/nuke_files/{name}" for name in names}
        found = {
            path.relative_to(installed).as_posix() for path in (installed / "fsgan_core").rglob("*") if path.is_file()
        }
        assert expected - found == set()
        assert {name for name in found - expected if not name.endswith(".pyc")} == set()

    def test_licence_and_metadata(self, installed: Path) -> None:
        (info,) = installed.glob("fsgan-*.dist-info")
        metadata = (info / "METADATA").read_text("utf-8")
        assert "License-Expression: Apache-2.0" in metadata
        assert (info / "licenses" / "LICENSE").is_file()
        for name in ("torch", "numpy", "opencv-python", "face-alignment", "openimageio", "opencolorio"):
            assert f"\nRequires-Dist: {name}>=" in metadata.lower().replace("requires-dist", "Requires-Dist")


class TestWork:
    def test_runs_outside_the_checkout(self, installed: Path, tmp_path: Path) -> None:
        code = "import fsgan_core; print(fsgan_core.__file__)"
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(done.stdout.strip()).is_relative_to(installed)
        done = run_fsgan(installed, tmp_path, "weights", "list", "--json")
        assert done.returncode == 0, done.stderr
        assert "small_reenact" in done.stdout

    def test_nuke_install_and_uninstall(self, installed: Path, tmp_path: Path) -> None:
        """The plugin is copied out of the package; Nuke's Python finds the contract beside it and nothing else."""
        done = run_fsgan(installed, tmp_path, "nuke", "install")
        assert done.returncode == 0, done.stderr
        assert "The worker answers" in done.stdout
        init = (tmp_path / ".nuke" / "init.py").read_text("utf-8")
        (plugin,) = tmp_path.rglob("nuke_plugin")
        assert plugin.as_posix() in init
        assert (plugin.parent / "gizmos" / "FSGAN_Swap.gizmo").is_file()
        code = f"import sys; sys.path[:0] = [{str(plugin.parent)!r}, {str(plugin)!r}]; import fsgan_nuke.client"
        subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True)

        done = run_fsgan(installed, tmp_path, "nuke", "uninstall")
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / ".nuke" / "init.py").exists()
        assert not list(tmp_path.rglob("nuke_plugin"))

    def test_a_copy_for_a_studio(self, installed: Path, tmp_path: Path) -> None:
        folder = tmp_path / "studio" / "fsgan"
        assert run_fsgan(installed, tmp_path, "nuke", "copy", str(folder)).returncode == 0
        assert (folder / "nuke_plugin" / "init.py").is_file()
        assert run_fsgan(installed, tmp_path, "nuke", "copy", str(folder)).returncode == 0, "again: replaced"
        other = tmp_path / "mine"
        other.mkdir()
        (other / "file.txt").write_text("mine")
        refused = run_fsgan(installed, tmp_path, "nuke", "copy", str(other))
        assert refused.returncode == 2
        assert "no copy of the plugin" in refused.stderr
        assert (other / "file.txt").read_text() == "mine"
