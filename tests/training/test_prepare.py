"""Finding footage: which clips a folder has, and whose face each of them shows."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from fsgan_core.contract.errors import InputError
from fsgan_core.training.prepare import FootageClip, find_footage


def test_folders_are_searched(tmp_path: Path) -> None:
    for name in (
        "anna/one.mov",
        "anna/day2/two.mp4",
        "bert.0001.png",
        "bert.0002.png",
        "stills/a.jpg",
        "stills/b.jpg",
        "notes.txt",
        ".hidden.mov",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_footage([str(tmp_path)], {})
    assert set(found) == {
        FootageClip(str(tmp_path / path), person)
        for path, person in (
            ("anna/one.mov", "anna"),
            ("anna/day2/two.mp4", "anna"),
            ("bert.####.png", "bert"),
            ("stills/*.jpg", "stills"),
        )
    }
    named = find_footage([str(tmp_path)], {"one.mov": "dora"})
    assert [one.person for one in named if one.path.endswith("one.mov")] == ["dora"]
    with pytest.raises(InputError, match=r"three\.mov"):
        find_footage([str(tmp_path)], {"three.mov": "dora"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no movies"):
        find_footage([str(tmp_path / "empty")], {})
