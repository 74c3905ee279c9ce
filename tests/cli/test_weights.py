"""`fsgan weights ...`: what it says, and how it exits."""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fsgan_core.cli import main
from fsgan_core.cli.parser import make_parser
from fsgan_core.networks.weights.catalogue import WeightsInfo
from fsgan_core.networks.weights.importing import ImportResult
from tests.networks.conftest import SMALL, own_folders, publish

__all__ = ["own_folders"]  # the fixture that keeps every test away from what this user has

INPAINT = "ijbc_msrunet_256_1_2_inpainting_v2"
ROOT = Path(__file__).parents[2]


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON result."""
    code = main(["weights", *map(str, arguments), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code and found["ok"] == (code == 0)
    return code, found


def actions() -> dict[str, argparse.ArgumentParser]:
    def below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
        return dict(next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices)

    return below(below(make_parser())["weights"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A studio's folder: a good file, one that is not used, one that is none."""
    made = tmp_path / "studio"
    made.mkdir()
    publish(made / f"{INPAINT}.pth", legacy=True)
    torch.save({"a": torch.zeros(1)}, made / "WIDERFace_DSFD_RES152.pth")
    (made / "notes.bin").write_text("no weights")
    return made


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A web server with one published file."""
    data = publish(tmp_path / "served.pth").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/a.pth" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/a.pth"
    server.shutdown()
    server.server_close()
    thread.join()


class TestManual:
    @pytest.mark.parametrize("name", actions())
    def test_every_action_and_flag(self, name: str) -> None:
        manual = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        assert f"fsgan weights {name}" in manual
        for action in actions()[name]._actions:
            for flag in action.option_strings:
                assert re.search(rf"(?<![\w-]){flag}(?![\w-])", manual), f"{flag} is not in docs/cli.md"

    @pytest.mark.parametrize("name", actions())
    def test_help(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["weights", name, "--help"])
        assert caught.value.code == 0 and "exit codes:" in capsys.readouterr().out

    def test_without_an_action(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["weights"])
        assert caught.value.code == 2 and "ACTION" in capsys.readouterr().err


class TestImport:
    def test_a_folder(self, folder: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, found = said(capsys, "import", folder)
        assert code == 1, "one file was refused, the rest is in"
        states = {Path(row["file"]).name: (row["state"], row["name"]) for row in found["files"]}
        assert states == {
            f"{INPAINT}.pth": ("imported", INPAINT),
            "WIDERFace_DSFD_RES152.pth": ("unused", "WIDERFace_DSFD_RES152"),
            "notes.bin": ("refused", None),
        }
        path = own_folders / f"{INPAINT}.safetensors"
        row = next(row for row in found["files"] if row["state"] == "imported")
        assert row["path"] == str(path) and row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_again(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "notes.bin").unlink()
        assert said(capsys, "import", folder)[0] == 0
        code, found = said(capsys, "import", folder)
        assert code == 0 and {row["state"] for row in found["files"]} == {"kept", "unused"}

    def test_for_people(self, folder: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["weights", "import", str(folder)]) == 1
        out = capsys.readouterr().out
        for part in (INPAINT, "imported", "notes.bin", "refused", "unknown", "not a checkpoint", str(own_folders)):
            assert part in out
        assert "Traceback" not in out

    def test_folder_without_weights(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["weights", "import", str(folder / "notes.bin")]) == 2
        assert str(folder / "notes.bin") in capsys.readouterr().err
        assert main(["weights", "import", str(folder / "nowhere")]) == 2

    def test_licence_and_name(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, found = said(capsys, "import", folder / f"{INPAINT}.pth", "--name", "ours", "--licence", "commercial")
        assert code == 0 and found["files"][0]["name"] == "ours"
        assert said(capsys, "info", "ours")[1]["licence"] == "commercial"
        assert main(["weights", "import", str(folder), "--name", "x"]) == 2
        with pytest.raises(SystemExit):
            main(["weights", "import", str(folder), "--licence", "mine"])
        assert "''" not in capsys.readouterr().err, "nothing is no class"

    def test_a_disk_that_cannot_be_written(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FSGAN_WEIGHTS", "")
        monkeypatch.setenv("XDG_DATA_HOME", str(folder / "notes.bin"))
        assert main(["weights", "import", str(folder)]) == 3
        err = capsys.readouterr().err
        assert "cannot write" in err and "set FSGAN_WEIGHTS" in err

    def test_existing_weights_are_reported(
        self, folder: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        publish(folder / "other.pth", SMALL.replace("ngf=2", "ngf=3"))
        before = said(capsys, "import", folder / f"{INPAINT}.pth", "--name", "ours")[1]["files"][0]["sha256"]
        assert main(["weights", "import", str(folder / "other.pth"), "--name", "ours"]) == 0
        out = capsys.readouterr().out
        assert "have been replaced" in out and before in out


class TestList:
    def test_list_without_weights(self, own_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, found = said(capsys, "list")
        assert code == 0 and found["folders"][0] == str(own_folders)
        assert len(found["weights"]) >= 14 and not any(row["path"] for row in found["weights"])

    def test_list_with_weights(
        self, folder: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--name", "ours", "--quiet"])
        (own_folders / "raw.pth").write_bytes(b"x")
        _, found = said(capsys, "list")
        assert {row["name"]: row["path"] for row in found["weights"]}["ours"] == str(own_folders / "ours.safetensors")
        assert found["not_imported"] == [str(own_folders / "raw.pth")]
        monkeypatch.setenv("FSGAN_WEIGHTS_ALLOW", "research")
        assert main(["weights", "list"]) == 0
        out = capsys.readouterr().out
        for part in ("ours", INPAINT, "unknown (refused)", "raw.pth", "no; fetch or import", "(does not exist)"):
            assert part in out

    def test_through_a_pipe(
        self, own_folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A row is a line, however long."""
        far = own_folders / ("far" * 40)
        own_folders.mkdir()
        publish(own_folders / "x.pth")
        monkeypatch.setenv("FSGAN_WEIGHTS", str(far))
        main(["weights", "import", str(own_folders / "x.pth"), "--name", "n" * 99, "--quiet"])
        capsys.readouterr()
        monkeypatch.setenv("COLUMNS", "80")
        assert main(["weights", "list"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any("n" * 99 in line and str(far) in line for line in lines)
        assert max(map(len, lines)) < 500

    def test_marks(self, capsys: pytest.CaptureFixture[str]) -> None:
        main(["weights", "list"])
        out = capsys.readouterr().out
        marked = {line.split()[0] for line in out.splitlines() if " * " in line}
        assert marked == {"reenact", "mask", "inpaint", "blend", "landmarks", "identity"}
        assert "(identity) by fine-tuning" in out


class TestInfo:
    def test_known(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, found = said(capsys, "info", INPAINT)
        assert code == 0 and found["role"] == "inpaint" and "sha256" in found and "path" not in found
        assert main(["weights", "info", INPAINT]) == 0
        assert "not on this machine" in capsys.readouterr().out

    def test_file(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = folder / f"{INPAINT}.pth"
        code, found = said(capsys, "info", file)
        assert code == 0 and found["arch"] == SMALL and found["name"] == INPAINT
        assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert found["parameters"] > 0 and found["tensors"] > 0

    def test_file_of_something_else(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, found = said(capsys, "info", folder / "WIDERFace_DSFD_RES152.pth")
        assert code == 0 and "no known network" in found["unrecognised"]
        assert main(["weights", "info", str(folder / "notes.bin")]) == 2
        assert main(["weights", "info", "nothing_of_the_kind"]) == 2


class TestVerify:
    def test_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["weights", "verify"]) == 2
        assert "no weights on this machine" in capsys.readouterr().err

    def test_sound_and_damaged(self, folder: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--quiet"])
        main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--name", "ours", "--quiet"])
        assert said(capsys, "verify")[0] == 0
        path = own_folders / "ours.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        code, found = said(capsys, "verify")
        assert code == 1 and [row["name"] for row in found["weights"] if not row["ok"]] == ["ours.safetensors"]
        assert said(capsys, "verify", INPAINT)[0] == 0
        assert main(["weights", "verify", "ours"]) == 1
        assert "SHA-256" in capsys.readouterr().err
        assert main(["weights", "verify", "theirs"]) == 2

    @pytest.mark.parametrize("name", [INPAINT, "ours"])
    def test_cut_off(self, folder: Path, own_folders: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
        """Alone, beside a sound one, by name, and for whoever wants errors only."""
        main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--name", name, "--quiet"])
        path = own_folders / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:-9])
        capsys.readouterr()
        for arguments in ((), (name,)):
            code, found = said(capsys, "verify", *arguments)
            assert code == 1 and [(row["path"], row["ok"]) for row in found["weights"]] == [(str(path), False)]
        assert main(["weights", "verify", "-q"]) == 1
        out, err = capsys.readouterr()
        assert str(path) in err and out == ""
        main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--name", "sound", "--quiet"])
        capsys.readouterr()
        code, found = said(capsys, "verify")
        assert code == 1 and {row["name"]: row["ok"] for row in found["weights"]} == {path.name: False, "sound": True}
        assert [row["path"] for row in said(capsys, "list")[1]["broken"]] == [str(path)]
        assert main(["weights", "list"]) == 0
        assert f"not usable: {path}" in capsys.readouterr().out

    def test_without_a_record(self, folder: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--quiet"])
        (own_folders / f"{INPAINT}.safetensors.sha256").unlink()
        code, found = said(capsys, "verify")
        assert code == 0 and "no digest was recorded" in found["weights"][0]["message"]


class TestExport:
    def test_round_trip(self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--quiet"])
        assert said(capsys, "export", INPAINT, "-o", tmp_path / "out" / "x.pth")[0] == 0
        before = torch.load(folder / f"{INPAINT}.pth", weights_only=True)
        after = torch.load(tmp_path / "out" / "x.pth", weights_only=True)
        assert after["arch"] == before["arch"]
        assert all(torch.equal(after["state_dict"][name], tensor) for name, tensor in before["state_dict"].items())

    def test_refusals(self, folder: Path, tmp_path: Path) -> None:
        assert main(["weights", "export", str(folder / f"{INPAINT}.pth"), "-o", str(tmp_path / "x.onnx")]) == 2
        assert main(["weights", "export", "nothing", "-o", str(tmp_path / "x.pth")]) == 2


class TestFetch:
    def test_from_an_address(self, address: str, own_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code = main(["weights", "fetch", INPAINT, "--from", address, "--json"])
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert (
            code == 0 and found["files"][0]["state"] == "imported" and "first download" in found["files"][0]["message"]
        )
        assert any(json.loads(line)["event"] == "fetch" for line in err.splitlines())
        assert (own_folders / f"{INPAINT}.safetensors").is_file()

    def test_default(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """What 'auto' takes, no more."""
        asked: list[str] = []

        def fetch_weights(weight: WeightsInfo, *_: Any, **__: Any) -> ImportResult:
            asked.append(weight.role)
            return ImportResult(Path("x"), "kept", weight)

        monkeypatch.setattr("fsgan_core.networks.weights.fetch.fetch_weights", fetch_weights)
        assert said(capsys, "fetch", "default")[0] == 0
        assert asked == ["reenact", "mask", "inpaint", "blend", "landmarks"]

    def test_refusals(self, address: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["weights", "fetch", "nothing"]) == 2
        assert main(["weights", "fetch", INPAINT, "hopenet_robust_alpha1", "--from", address]) == 2
        assert main(["weights", "fetch", INPAINT, "--from", address + "x"]) == 2
        assert "404" in capsys.readouterr().err
        assert main(["weights", "fetch", "WIDERFace_DSFD_RES152"]) == 2
        assert main(["weights", "fetch", INPAINT, "--from", "http://example.org/a.pth"]) == 2


def test_doctor_lists_them(folder: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fsgan_core.doctor import describe_installation

    main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--quiet"])
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["weights"]["installed"]] == [INPAINT]
    lines = "\n".join(describe_installation(found))
    assert INPAINT in lines and str(own_folders) in lines


def test_doctor_says_what_helps(folder: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fsgan_core.doctor import describe_installation, examine_installation

    main(["weights", "import", str(folder / f"{INPAINT}.pth"), "--quiet"])
    path = own_folders / f"{INPAINT}.safetensors"
    whole = path.read_bytes()
    for data in (whole[:-1] + b"\x7f", whole[:-9]):
        path.write_bytes(data)
        found = examine_installation()
        assert not found["ok"] and any(str(path) in problem for problem in found["problems"])
        last = list(describe_installation(found))[-1]
        assert "fsgan weights verify" in last and "install.py" not in last


def test_tests_do_not_see_weights_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from fsgan_core.networks.weights.search_folders import find_user_folder

    assert tmp_path_factory.getbasetemp() in find_user_folder().parents
