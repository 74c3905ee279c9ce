"""Collects a shot's paths under the names that a farm's job uses, and replaces them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.shot import Clip, Shot, parse_person
from fsgan_core.contract.stage_graph import NETWORK_STAGES

__all__ = ["collect_paths", "replace_paths"]

STAGE_PATH_NAMES = ("analyse.person_reference", "colour.config", "reenact.atlas")  # parameters that are paths


def collect_paths(shot: Shot) -> dict[str, str]:
    """Collects a shot's paths by their name on a task's command line: "source.1", "target.track", "output", ..."""
    paths: dict[str, str] = {}
    clips = {f"source.{number}": clip for number, clip in enumerate(shot.source, start=1)}
    clips["target"] = shot.target
    if shot.holdout is not None:
        clips["holdout"] = shot.holdout
    for name, clip in clips.items():
        paths[name] = clip.path
        paths[f"{name}.track"] = clip.track
        paths[f"{name}.person"] = clip.person if "person_reference" in parse_person(clip.person) else ""
    stages = shot.stages
    paths["analyse.person_reference"] = stages.analyse.person_reference
    paths["colour.config"] = "" if "://" in stages.colour.config else stages.colour.config
    paths["reenact.atlas"] = stages.reenact.atlas
    for stage in NETWORK_STAGES:
        network = getattr(stages, stage).network
        paths[f"{stage}.network"] = network if Path(network).suffix in (".safetensors", ".pth") else ""
    paths["output"] = str(Path(shot.output.path).parent)
    return {name: text for name, text in paths.items() if text}


def replace_paths(shot: Shot, paths: Mapping[str, str]) -> Shot:
    """Replaces paths of a shot by name. "output" is the folder of the output; its file name stays.

    Raises:
        InputError: The shot has no such name.
    """
    for name, path in paths.items():
        head, _, rest = name.partition(".")
        if head == "source" and rest:
            number, _, key = rest.partition(".")
            index = int(number) - 1 if number.isdecimal() else -1
            if not 0 <= index < len(shot.source):
                raise InputError(f"the shot has no {name}")
            changed = _replace_clip_path(shot.source[index], key, path)
            shot = replace(shot, source=(*shot.source[:index], changed, *shot.source[index + 1 :]))
        elif head == "target":
            shot = replace(shot, target=_replace_clip_path(shot.target, rest, path))
        elif head == "holdout" and shot.holdout is not None:
            shot = replace(shot, holdout=_replace_clip_path(shot.holdout, rest, path))
        elif name == "output":
            folder = os.path.join(path, Path(shot.output.path.replace("\\", "/")).name)  # noqa: PTH118 - keeps "//server"
            shot = replace(shot, output=replace(shot.output, path=folder))
        elif name in STAGE_PATH_NAMES or (head in NETWORK_STAGES and rest == "network"):
            stage = getattr(shot.stages, head).replace(**{rest: path})
            shot = replace(shot, stages=replace(shot.stages, **{head: stage}))
        else:
            raise InputError(f"the shot has no {name}")
    return shot


def _replace_clip_path(clip: Clip, key: str, path: str) -> Clip:
    if key not in ("", "track", "person"):
        raise InputError(f"a clip has no {key}")
    return replace(clip, **{key or "path": path})
