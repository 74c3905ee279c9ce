"""Preferences: the worker's Python, the folders of weights, cache and logs, and the device.

They are in a small JSON file, written by `install.py --nuke` and by the preferences panel. Later ones of these override
earlier ones: defaults, `fsgan.json` beside the plugin (for a whole studio), the user's file, environment variables.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

log = logging.getLogger(__name__)

FILE_VARIABLE = "FSGAN_SETTINGS"
SETTING_VARIABLES = {
    "python": "FSGAN_PYTHON",
    "weights": "FSGAN_WEIGHTS",
    "cache": "FSGAN_CACHE",
    "device": "FSGAN_DEVICE",
}
SITE_FILE = Path(__file__).resolve().parent.parent / "fsgan.json"


@dataclass(frozen=True)
class Settings:
    """The preferences.

    Attributes:
        python: The worker's interpreter.
        root: Folder that contains fsgan_core; "" if it is installed in that Python.
        weights: Folder of weights, "" for the default.
        cache: Cache folder, "" for the default.
        logs: Log folder, "" for the default.
        device: auto, cpu, cuda, cuda:1, mps.
        environment: Further variables for the worker, such as a library path.
    """

    python: str = ""
    root: str = ""
    weights: str = ""
    cache: str = ""
    logs: str = ""
    device: str = "auto"
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def log_folder(self) -> Path:
        """The folder of the worker's logs."""
        return Path(self.logs).expanduser() if self.logs else get_user_folder("cache") / "logs"


def get_settings_file(environment: Optional[Mapping[str, str]] = None) -> Path:
    """Returns the user's preferences file, or the one in $FSGAN_SETTINGS. It need not exist."""
    named_file = (os.environ if environment is None else environment).get(FILE_VARIABLE, "")
    return Path(named_file).expanduser() if named_file else get_user_folder("config") / "nuke.json"


def get_user_folder(
    kind: str,
    platform: str = sys.platform,
    environment: Optional[Mapping[str, str]] = None,
    home: Optional[Path] = None,
) -> Path:
    """Returns our folder for a user's "config" or "cache" on this system."""
    variables = os.environ if environment is None else environment
    home = home or Path(os.path.expanduser("~"))
    if platform == "win32":
        if kind == "config":
            return Path(variables.get("APPDATA") or home / "AppData" / "Roaming") / "fsgan"
        return Path(variables.get("LOCALAPPDATA") or home / "AppData" / "Local") / "fsgan" / "Cache"
    if platform == "darwin":
        return home / "Library" / ("Application Support" if kind == "config" else "Caches") / "fsgan"
    if kind == "config":
        return Path(variables.get("XDG_CONFIG_HOME") or home / ".config") / "fsgan"
    return Path(variables.get("XDG_CACHE_HOME") or home / ".cache") / "fsgan"


def load_settings(environment: Optional[Mapping[str, str]] = None, site: Path = SITE_FILE) -> Settings:
    """Loads the preferences. A file that cannot be read is logged and ignored."""
    variables = os.environ if environment is None else environment
    values: Dict[str, Any] = {**_read_settings(site), **_read_settings(get_settings_file(variables))}
    values.update(
        {name: variables[variable] for name, variable in SETTING_VARIABLES.items() if variables.get(variable)}
    )
    return Settings(**values)


def list_overruling_variables(settings: Settings, environment: Optional[Mapping[str, str]] = None) -> List[str]:
    """Lists the environment variables that override these settings with other values."""
    variables = os.environ if environment is None else environment
    return [
        variable
        for name, variable in SETTING_VARIABLES.items()
        if variables.get(variable) and variables[variable] != getattr(settings, name)
    ]


def save_settings(settings: Settings, file: Optional[Path] = None) -> Path:
    """Writes the user's file, whole or not at all, without defaults; returns the file. Raises OSError."""
    file = file or get_settings_file()
    default = Settings()
    values = {name: value for name, value in dataclasses.asdict(settings).items() if value != getattr(default, name)}
    write_settings(values, file)
    return file


def write_settings(values: Mapping[str, Any], file: Path) -> None:
    """Writes values to a preferences file, whole or not at all. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=str(file.parent), prefix=file.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(values, stream, indent=2, ensure_ascii=False)
            stream.write("\n")
        os.replace(temporary, str(file))
    except BaseException:
        os.unlink(temporary)
        raise


def _read_settings(file: Path) -> Dict[str, Any]:
    """Reads the known values of a file that have the right type."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s is not read: %s", file, error)
        return {}
    if not isinstance(data, dict):
        log.warning("%s is not read: it is not a JSON object", file)
        return {}
    default = Settings()
    values = {}
    for field in dataclasses.fields(Settings):
        read_value = data.get(field.name)
        if isinstance(read_value, type(getattr(default, field.name))):
            values[field.name] = read_value
        elif read_value is not None:
            log.warning("%s: %s is not understood", file, field.name)
    return values
