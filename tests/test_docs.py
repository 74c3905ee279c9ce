"""The pages in docs/: what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_every_file_of_the_architecture_page_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| .+\? \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(rows) >= 20
    assert [name for name in rows if not (ROOT / name).is_file()] == []
    named = re.findall(
        r"`((?:cli|worker|farm|report|evaluation|training|render|clips|stages|faces|networks|plates|"
        r"runtime|contract)/[\w/.]*)`",
        text,
    )
    assert [name for name in named if not (ROOT / "fsgan_core" / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_files_that_are_named_exist(page: Path) -> None:
    """Paths like `stages/leading_view.py` in backticks: under the package, the plugin or the checkout."""
    if page.name == "CHANGELOG.md":
        pytest.skip("a changelog tells of files as they were")
    bases = (ROOT, ROOT / "fsgan_core", ROOT / "nuke_plugin" / "fsgan_nuke", ROOT / "nuke_plugin")
    named = re.findall(r"`([\w/]+\.py)`", page.read_text("utf-8"))
    assert [name for name in named if not any((base / name).exists() for base in bases)] == []
