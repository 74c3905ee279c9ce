"""Which engine does a stage: one table of names, what each needs, and the functions that do the work.

A further engine (a network) is a row here: its functions keep the signatures of the row's stage, `missing` says what
it lacks on this machine, `weights` names its weight files for keys and metadata. Rows stand best first: "auto" takes
the first that lacks nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fsgan_core.contract.errors import EngineError

__all__ = ["ENGINES", "Engine", "resolve_engine"]


def _nothing() -> str:
    return ""


def _no_weights() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Engine:
    """One way to do a stage.

    functions: role -> "module:function". missing(): "" when it can run here, else what is lacking and what to do.
    weights(): file name -> SHA-256 of each weight file that it uses.
    """

    stage: str
    name: str
    functions: Mapping[str, str]
    missing: Callable[[], str] = _nothing
    weights: Callable[[], Mapping[str, str]] = _no_weights

    def function(self, role: str) -> Callable[..., Any]:
        """The function for a role, its module imported now."""
        module, _, name = self.functions[role].partition(":")
        return getattr(importlib.import_module(module), name)

    @property
    def weights_text(self) -> str:
        """For metadata: "name:first 12 digits of the SHA-256, ...", or "none"."""
        return ", ".join(f"{name}:{sha[:12]}" for name, sha in sorted(self.weights().items())) or "none"


_REENACT = {"reenact": "fsgan_core.stages.reenact:reenact"}
_DRIVE = {"picture": "fsgan_core.stages.liquify:drive_picture", "mattes": "fsgan_core.stages.liquify:drive_mattes"}
_MASK = {"measure": "fsgan_core.stages.mask:measure_mattes", "combine": "fsgan_core.stages.mask:combine_mattes"}
_INPAINT = {"inpaint": "fsgan_core.stages.inpaint:inpaint"}
_BLEND = {"blend": "fsgan_core.stages.blend:blend"}

ENGINES: tuple[Engine, ...] = (
    Engine("reenact", "warp", _REENACT),
    Engine("drive", "liquify", _DRIVE),
    Engine("mask", "geometric", _MASK),
    Engine("inpaint", "fill", _INPAINT),
    Engine("blend", "poisson", _BLEND),
    Engine("blend", "multiband", _BLEND),
    Engine("blend", "over", _BLEND),
)


def resolve_engine(stage: str, name: str, table: tuple[Engine, ...] = ENGINES) -> Engine:
    """The engine of that name, or for "auto" the best that can run here.

    Raises EngineError: no such engine, or it lacks something (the message says what to do).
    """
    rows = [engine for engine in table if engine.stage == stage]
    for engine in rows:
        if name in ("auto", engine.name):
            lacking = engine.missing()
            if not lacking:
                return engine
            if name != "auto":
                raise EngineError(f"{stage}.engine = {name} cannot run here: {lacking}")
    if name == "auto":
        raise EngineError(f"no engine of {stage} can run here; `fsgan doctor` says what each one lacks")
    raise EngineError(f"{stage}.engine = {name} is not known; there are {', '.join(row.name for row in rows)} and auto")
