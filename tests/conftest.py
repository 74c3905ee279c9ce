"""Pictures that tests share: public-domain stills, and real footage where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.small_shot import Small, make_small_shot


@pytest.fixture(scope="session", autouse=True)
def no_weights_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, nor a process that it starts, sees the weights that a user has here or that come with the package; a
    test that wants some sets FSGAN_WEIGHTS itself, or asks for `packaged_weights`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSGAN_WEIGHTS_PACKAGED", "0")
        patch.delenv("FSGAN_WEIGHTS", raising=False)
        patch.delenv("FSGAN_WEIGHTS_ALLOW", raising=False)
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def packaged_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights that come with the package are there, as in a fresh install."""
    monkeypatch.delenv("FSGAN_WEIGHTS_PACKAGED")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test, nor a process that it starts, sees the user's cache or OCIO config."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSGAN_CACHE", str(folder))
        patch.delenv("OCIO", raising=False)
        yield folder


@pytest.fixture(scope="session")
def footage() -> Path:
    """Folder of real clips: FSGAN_FOOTAGE, or shared/footage beside the checkout. Skips where there is none."""
    folder = Path(os.environ.get("FSGAN_FOOTAGE") or Path(__file__).parents[2] / "shared" / "footage")
    if not (folder / "MANIFEST.json").is_file():
        pytest.skip(f"no footage at {folder} (set FSGAN_FOOTAGE)")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """uint8 (512, 512, 3) RGB: Eileen Collins, NASA, public domain."""
    data = pytest.importorskip("skimage.data")
    picture: np.ndarray = data.astronaut()
    picture.setflags(write=False)
    return picture


@pytest.fixture(scope="session")
def grace_hopper() -> np.ndarray:
    """uint8 (600, 512, 3) RGB: Grace Hopper, US Navy, public domain."""
    cbook = pytest.importorskip("matplotlib.cbook")
    image = pytest.importorskip("PIL.Image")
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        picture = np.asarray(image.open(file).convert("RGB"))
    picture.setflags(write=False)
    return picture


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, grace_hopper: np.ndarray) -> Small:
    """A small shot of public-domain faces with its tracks; see tests/small_shot.py."""
    return make_small_shot(tmp_path_factory.mktemp("small"), astronaut, grace_hopper)
