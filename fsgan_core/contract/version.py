"""The version of core, plugin and gizmos; declared here only."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
