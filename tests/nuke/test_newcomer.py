"""A newcomer's session runs, and docs/stand-in.md shows what it prints.

FSGAN_WRITE_PAGES=1 writes the page anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.host import Host
from tests.nuke.conftest import ROOT, Footage
from tests.nuke.newcomer import Newcomer

PAGE = ROOT / "docs" / "stand-in.md"
BEGIN, END = "<!-- session: begin -->\n```text\n", "\n```\n<!-- session: end -->"


def test_the_page_shows_a_newcomers_session(session: Host, clips: Footage, tmp_path: Path) -> None:
    newcomer = Newcomer(session, clips, tmp_path)
    try:
        printed = "\n".join(newcomer.run())
    finally:
        sys.stdout.write("\n".join(newcomer.lines))
    assert [text for kind, text in session.messages if kind in ("traceback", "message")] == []
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    shown, after = rest.split(END)
    if os.environ.get("FSGAN_WRITE_PAGES"):
        PAGE.write_text(f"{before}{BEGIN}{printed}{END}{after}", encoding="utf-8")
        shown = printed
    assert shown == printed, "run: FSGAN_WRITE_PAGES=1 pytest tests/nuke/test_newcomer.py"
