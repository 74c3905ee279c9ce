"""The networks: layouts and names as published, built from the string that a checkpoint carries.

Nothing here imports torch before a network is built: `import fsgan_core.networks` is cheap.
"""

from __future__ import annotations

from fsgan_core.networks.architectures.build import Architecture, build_network, parse_architecture

__all__ = ["Architecture", "build_network", "parse_architecture"]
