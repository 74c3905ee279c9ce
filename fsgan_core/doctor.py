"""Reports what is installed and what works here: packages, engines, devices, colour, folders. Changes nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fsgan_core.contract.errors import FsganError, OutputError, WeightsError
from fsgan_core.contract.version import __version__

__all__ = ["describe_installation", "examine_installation"]


def examine_installation() -> dict[str, Any]:
    """Examines the installation; returns plain data for JSON. `ok` is False if a swap cannot run here."""
    packages = {name: _find_version(name) for name in _list_required_packages()}
    findings: dict[str, Any] = {
        "fsgan": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "packages": packages,
        "engines": _try_check(_check_engines),
        "auto": _try_check(_check_auto_engines),
        "weights": _try_check(_check_weights),
        "faces": _try_check(_check_faces),
        "devices": _try_check(_check_devices),
        "colour": _try_check(_check_colour),
        "cache": _try_check(_check_cache),
    }
    problems = [f"{name} is not installed" for name, version in packages.items() if version is None]
    problems += [f"weights: {message}" for message in findings["weights"].get("damaged", ())]
    reported = ("", *findings["weights"].get("damaged", ()))
    problems += [
        f"{part}: {findings[part]['error']}"
        for part in ("engines", "weights", "faces", "devices", "colour", "cache")
        if findings[part].get("error", "") not in reported
    ]
    problems += [
        f"no engine for {stage}"
        for stage, rows in findings["engines"].items()
        if stage != "error" and all(rows.values())
    ]
    return {"ok": not problems, "problems": problems, **findings}


def describe_installation(findings: Mapping[str, Any]) -> Iterator[str]:
    """Describes the findings of `examine_installation` for a person, line by line."""
    yield f"fsgan {findings['fsgan']}, Python {findings['python']} ({findings['executable']})"
    yield f"{findings['system']}, {findings['processors']} processors"
    yield "packages:"
    for name, version in findings["packages"].items():
        yield f"  {name:24} {version or 'missing'}"
    yield "engines (best first):"
    for stage, rows in findings["engines"].items():
        if stage != "error":
            yield f"  {stage:24} " + _describe_engines(rows, findings["auto"].get(stage, ""))
            yield from (f"    not {name}: {lacking}" for name, lacking in rows.items() if lacking)
    yield "weights:"
    for row in findings["weights"].get("installed", ()):
        yield f"  {row['role']:24} {row['name']} (licence {row['licence']}), {row['path']}"
    yield "  looked for in            " + ", ".join(findings["weights"].get("folders", ()))
    if findings["weights"].get("limit"):
        yield f"  FSGAN_WEIGHTS_ALLOW      {findings['weights']['limit']}"
    yield "faces:"
    for what, text in findings["faces"].items():
        if isinstance(text, str):
            yield f"  {what:24} {text}"
    for use, network in findings["faces"].get("networks", {}).items():
        yield f"  {use:24} {network['name']} (licence {network['licence']})"
    for model in findings["faces"].get("models", {}).values():
        yield f"  {model['use']:24} licence {model['licence']}" + (f"; {model['missing']}" if model["missing"] else "")
    precision = findings["devices"].get("precision", {})
    devices = [
        f"{device} ({precision[device]})" if device in precision else device
        for device in findings["devices"].get("list", ())
    ]
    yield f"devices (precision):       {', '.join(devices)}"
    colour = findings["colour"]
    if "error" not in colour:
        yield f"colour config:             {colour['config']} (from {colour['from']})"
        yield f"  scene_linear             {colour['scene_linear']}"
    if "error" not in findings["cache"]:
        yield f"cache:                     {findings['cache']['folder']} ({findings['cache']['tracks']} tracks)"
    for problem in findings["problems"]:
        yield f"PROBLEM: {problem}"
    yield (
        "all is well"
        if findings["ok"]
        else "this will not work until the problems are solved" + _suggest_repairs(findings)
    )


def _describe_engines(rows: Mapping[str, str], auto: str) -> str:
    """The engines of a stage that can run, and which one `auto` takes."""
    able = [name for name, lacking in rows.items() if not lacking]
    return (", ".join(able) or "none") + (f" (auto takes {auto})" if auto else "")


def _suggest_repairs(found: Mapping[str, Any]) -> str:
    """Says how to solve the problems whose own messages do not."""
    ways = []
    if None in found["packages"].values():
        ways.append("python3 install.py")
    if found["weights"].get("damaged"):
        ways.append("fsgan weights verify (names the files), then import or fetch those files again, or delete them")
    return "".join(f"{'; ' if number else ': '}{way}" for number, way in enumerate(ways))


def _list_required_packages() -> list[str]:
    """Lists the packages that fsgan needs, without extras; none if fsgan itself is not installed as a package."""
    try:
        requirements = importlib.metadata.requires("fsgan") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requirements if "extra ==" not in line]


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _try_check(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer, or {"error": ...}, so that the rest is reported whatever is broken."""
    try:
        return check()
    except Exception as error:
        return {"error": str(error) if isinstance(error, FsganError) else f"{type(error).__name__}: {error}"}


def _check_engines() -> dict[str, Any]:
    from fsgan_core.render.engines import ENGINES, describe_missing

    engines: dict[str, dict[str, str]] = {}
    for engine in ENGINES:
        engines.setdefault(engine.stage, {})[engine.name] = describe_missing(engine)
    return engines


def _check_auto_engines() -> dict[str, Any]:
    from fsgan_core.render.engines import ENGINES, find_auto_engine

    return {stage: find_auto_engine(stage) for stage in dict.fromkeys(engine.stage for engine in ENGINES)}


def _check_weights() -> dict[str, Any]:
    from fsgan_core.contract.licences import resolve_allow
    from fsgan_core.networks.weights.catalogue import ROLES
    from fsgan_core.networks.weights.installed import find_best_weights, list_present_weights
    from fsgan_core.networks.weights.search_folders import list_search_folders

    damaged = []
    for role in ROLES:
        try:
            find_best_weights(role)
        except WeightsError as error:
            damaged.append(str(error))
    return {
        "installed": [
            {"role": weight.role, "name": weight.name, "licence": weight.licence, "path": str(path)}
            for weight, path in list_present_weights()
        ],
        "damaged": damaged,
        "folders": [str(folder) for folder in list_search_folders()],
        "limit": "" if resolve_allow("any")[0] == "any" else resolve_allow("any")[0],
    }


def _check_faces() -> dict[str, Any]:
    from fsgan_core.contract.param_fields import iterate_param_fields
    from fsgan_core.contract.params import AnalyseParams
    from fsgan_core.faces.detectors.choose_detector import make_detector
    from fsgan_core.faces.landmarkers.landmarks import make_landmarker
    from fsgan_core.faces.models import MODEL_LICENCES, PACKAGED_NETWORKS, find_missing_model
    from fsgan_core.networks.weights.installed import find_packaged_weights

    def find_use(name: str) -> str:
        """The first setting that chooses an engine of this name."""
        [use, *_] = [field.name for field in iterate_param_fields(AnalyseParams) if name in field.choices]
        return f"analyse.{use}={name}"

    networks = {use: find_packaged_weights(name).info for use, name in PACKAGED_NETWORKS.items()}
    return {
        "detector (auto)": make_detector().name,
        "landmarks (auto)": make_landmarker().name,
        "networks": {use: {"name": info.name, "licence": info.licence} for use, info in networks.items()},
        "models": {
            name: {"use": find_use(name), "licence": licence, "missing": find_missing_model(name)}
            for name, licence in MODEL_LICENCES.items()
        },
    }


def _check_devices() -> dict[str, Any]:
    from fsgan_core.runtime.device import list_devices

    devices = list_devices()
    if importlib.util.find_spec("torch") is None:
        return {"list": list(devices), "precision": {}}
    from fsgan_core.networks.inference import resolve_precision

    return {"list": list(devices), "precision": {device: resolve_precision(device) for device in devices}}


def _check_colour() -> dict[str, Any]:
    from fsgan_core.plates.colour import open_config

    config = open_config()
    origin = "the environment variable OCIO" if os.environ.get("OCIO", "").strip() else "OCIO's built-in ones"
    return {"config": config.name, "from": origin, "scene_linear": config.scene_linear}


def _check_cache() -> dict[str, Any]:
    from fsgan_core.runtime.cache import get_cache_folder

    folder = get_cache_folder()
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not os.access(nearest, os.W_OK):
        raise OutputError(f"the cache folder {folder} cannot be written; set FSGAN_CACHE to another one")
    tracks = len(list((folder / "tracks").glob("*.json"))) if (folder / "tracks").is_dir() else 0
    return {"folder": str(folder), "tracks": tracks}
