#!/usr/bin/env python3
"""Draws each node's panel, as the stand-in host lays it out, into docs/images/panels: `python3 gizmos/panels.py`.

Needs what the tests need. What Nuke draws looks different; tabs, order, labels and values are the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.host import new_host, start  # noqa: E402
from tests.host.panel import draw_panel  # noqa: E402

NODE_CLASSES = (
    "FSGAN_Analyse",
    "FSGAN_Reenact",
    "FSGAN_Mask",
    "FSGAN_Inpaint",
    "FSGAN_Blend",
    "FSGAN_Swap",
    "FSGAN_Drive",
)


def main() -> None:
    """Draws all panels."""
    folder = ROOT / "docs" / "images" / "panels"
    folder.mkdir(parents=True, exist_ok=True)
    with new_host() as host:
        start(host, [ROOT / "nuke_plugin"])
        for name in NODE_CLASSES:
            draw_panel(host.module.createNode(name), folder / f"{name}.png", scale=1)


if __name__ == "__main__":
    main()
