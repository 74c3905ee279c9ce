"""The version of the whole project: core, plugin and gizmos. The one place that says it."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
