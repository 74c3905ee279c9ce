"""Networks and their weights.

Architectures have the published layout and layer names, and are built from the string that a checkpoint carries.
`import fsgan_core.networks` is cheap: torch is imported when a network is built.
"""

from __future__ import annotations

from fsgan_core.networks.architectures.build import Architecture, build_network, parse_architecture

__all__ = ["Architecture", "build_network", "parse_architecture"]
