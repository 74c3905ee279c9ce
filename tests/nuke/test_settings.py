"""Preferences: where they lie on each system, what wins, and files that are no good."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fsgan_nuke import settings
from fsgan_nuke.settings import Settings


@pytest.mark.parametrize(
    ("platform", "variables", "kind", "folder"),
    [
        ("linux", {}, "config", "/home/a/.config/fsgan"),
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "config", "/x/fsgan"),
        ("linux", {}, "cache", "/home/a/.cache/fsgan"),
        ("darwin", {}, "config", "/home/a/Library/Application Support/fsgan"),
        ("darwin", {}, "cache", "/home/a/Library/Caches/fsgan"),
        ("win32", {"APPDATA": "/r"}, "config", "/r/fsgan"),
        ("win32", {"LOCALAPPDATA": "/l"}, "cache", "/l/fsgan/Cache"),
        ("win32", {}, "config", "/home/a/AppData/Roaming/fsgan"),
    ],
)
def test_folders(platform: str, variables: dict[str, str], kind: str, folder: str) -> None:
    assert settings.get_user_folder(kind, platform, variables, Path("/home/a")) == Path(folder)


def test_saved_settings_are_loaded(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "nuke.json"
    given = Settings(python="/программы/python", weights="/w", device="cuda:1", environment={"A": "b"})
    settings.save_settings(given, file)
    assert settings.load_settings({"FSGAN_SETTINGS": str(file)}, tmp_path / "none.json") == given
    assert set(json.loads(file.read_text("utf-8"))) == {"python", "weights", "device", "environment"}
    assert [path.name for path in file.parent.iterdir()] == ["nuke.json"]


def test_settings_order_of_precedence(tmp_path: Path) -> None:
    """The defaults, the studio's, the user's, the environment."""
    site, user = tmp_path / "fsgan.json", tmp_path / "nuke.json"
    site.write_text(json.dumps({"python": "/site", "weights": "/site", "cache": "/site"}))
    user.write_text(json.dumps({"weights": "/user", "cache": "/user"}))
    found = settings.load_settings({"FSGAN_SETTINGS": str(user), "FSGAN_CACHE": "/env", "FSGAN_DEVICE": ""}, site)
    assert found == Settings(python="/site", weights="/user", cache="/env", device="auto")
    assert settings.load_settings({"FSGAN_SETTINGS": str(user), "FSGAN_PYTHON": "/mine"}, site) == replace(
        found, python="/mine", cache="/user"
    )


@pytest.mark.parametrize("text", ["{", "[1]", "\udcff", '{"python": 3, "unknown": 1}'])
def test_broken_settings_file(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "nuke.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert settings.load_settings({"FSGAN_SETTINGS": str(file)}, tmp_path / "none.json") == Settings()
    assert str(file) in caplog.text


def test_log_folder(tmp_path: Path) -> None:
    assert Settings(logs=str(tmp_path)).log_folder == tmp_path
    assert Settings().log_folder.name == "logs"
