"""The manual as web pages: made from the Markdown files in docs when an artist opens it."""

from __future__ import annotations

import html
import os
import re
import tempfile
from pathlib import Path
from typing import Iterator

from fsgan_core.contract.errors import InputError, OutputError
from fsgan_core.contract.version import __version__
from fsgan_nuke.settings import get_user_folder

DOCS_FOLDER = Path(__file__).resolve().parents[2] / "docs"
START_PAGE = "nuke"
STYLE = (
    "body{max-width:56em;margin:2em auto;padding:0 1em;font:16px/1.5 sans-serif;background:#262626;color:#ddd}"
    "a{color:#e0a866}code,pre{background:#333;border-radius:3px;padding:0 .2em}pre{padding:.6em;overflow-x:auto}"
    "table{border-collapse:collapse}td,th{border:1px solid #555;padding:.25em .6em;text-align:left;vertical-align:top}"
    "img{max-width:100%}nav a{margin-right:1em}"
)

_TABLE_RULE = re.compile(r"\|[\s|:-]+\|$")
_LIST_ITEM = re.compile(r"(?:[-*]|(\d+)\.)\s+(.*)")


def write_manual(folder: str = "") -> Path:
    """Writes the pages, and returns the first one.

    Args:
        folder: Where to write them; "" is the user's cache folder.

    Raises:
        InputError: The plugin was copied without its docs.
        OutputError: The folder cannot be written.
    """
    if not (DOCS_FOLDER / f"{START_PAGE}.md").is_file():
        raise InputError(f"the manual is not installed; expected {DOCS_FOLDER}. Copy the plugin again: fsgan nuke copy")
    target = Path(folder) if folder else get_user_folder("cache") / "manual" / __version__
    names = sorted(path.stem for path in DOCS_FOLDER.glob("*.md"))
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            text = (DOCS_FOLDER / f"{name}.md").read_text(encoding="utf-8")
            _write_page(target / f"{name}.html", convert_page(text, names, DOCS_FOLDER.as_uri()))
    except OSError as error:
        raise OutputError(f"{error.filename or target}: {error.strerror}") from error
    return target / f"{START_PAGE}.html"


def _write_page(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=str(path.parent))
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(temporary, str(path))


def convert_page(text: str, pages: list[str], docs_uri: str) -> str:
    """Converts a page of Markdown, as the docs use it, to HTML.

    Args:
        text: Headings, paragraphs, lists, tables, code blocks, and inline code, bold, links and pictures.
        pages: Names of the pages; a link to one of them leads to its HTML file.
        docs_uri: The docs folder, where pictures and other files are.
    """
    title = next((line[2:] for line in text.splitlines() if line.startswith("# ")), "FSGAN")
    links = " ".join(f'<a href="{name}.html">{name}</a>' for name in pages)
    body = "\n".join(_convert_blocks(text.splitlines(), pages, docs_uri))
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><nav>{links}</nav>\n{body}\n</body></html>\n"
    )


def _convert_blocks(lines: list[str], pages: list[str], docs_uri: str) -> Iterator[str]:
    def convert(part: str) -> str:
        return convert_inline(part, pages, docs_uri)

    place = 0
    while place < len(lines):
        line = lines[place].rstrip()
        place += 1
        if line.strip().startswith("```"):
            end = next((n for n in range(place, len(lines)) if lines[n].strip().startswith("```")), len(lines))
            yield f"<pre>{html.escape(chr(10).join(lines[place:end]))}</pre>"
            place = end + 1
        elif line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            heading = line[level:].strip()
            yield f'<h{level} id="{make_anchor(heading)}">{convert(heading)}</h{level}>'
        elif line.startswith("|"):
            rows = [line]
            while place < len(lines) and lines[place].startswith("|"):
                rows.append(lines[place].rstrip())
                place += 1
            yield _convert_table(rows, pages, docs_uri)
        elif _LIST_ITEM.match(line):
            items, is_numbered = [line], bool(re.match(r"\d", line))
            while place < len(lines) and lines[place].strip() and not _begins_block(lines[place]):
                items.append(lines[place].rstrip())
                place += 1
            tag = "ol" if is_numbered else "ul"
            yield f"<{tag}>{''.join(f'<li>{convert(item)}</li>' for item in _join_items(items))}</{tag}>"
        elif line.strip():
            paragraph = [line]
            while place < len(lines) and lines[place].strip() and not _begins_block(lines[place], "- "):
                paragraph.append(lines[place].strip())
                place += 1
            yield f"<p>{convert(' '.join(paragraph))}</p>"


def _begins_block(line: str, *others: str) -> bool:
    return line.startswith(("#", "|", *others)) or line.strip().startswith("```")


def _join_items(lines: list[str]) -> list[str]:
    """The items of a list, each with the lines that continue it."""
    items: list[str] = []
    for line in lines:
        match = _LIST_ITEM.match(line.strip())
        if match is not None:
            items.append(match[2])
        else:
            items[-1] += " " + line.strip()
    return items


def _convert_table(rows: list[str], pages: list[str], docs_uri: str) -> str:
    converted = []
    for number, row in enumerate(row for row in rows if not _TABLE_RULE.match(row)):
        tag = "th" if number == 0 and len(rows) > 1 and _TABLE_RULE.match(rows[1]) else "td"
        cells = re.split(r"(?<!\\)\|", row.strip().strip("|"))
        texts = [convert_inline(cell.strip().replace("\\|", "|"), pages, docs_uri) for cell in cells]
        converted.append("<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>")
    return "<table>" + "".join(converted) + "</table>"


def convert_inline(text: str, pages: list[str], docs_uri: str) -> str:
    """Converts inline code, bold, links and pictures of one paragraph.

    >>> convert_inline("see **[drive](drive.md#rest)** and `a<b`", ["drive"], "file:///docs")
    'see <b><a href="drive.html#rest">drive</a></b> and <code>a&lt;b</code>'
    """
    codes: list[str] = []

    def keep_code(match: re.Match[str]) -> str:
        codes.append(f"<code>{html.escape(match[1])}</code>")
        return f"\x00{len(codes) - 1}\x00"

    marked = _convert_marks(html.escape(re.sub(r"`([^`]+)`", keep_code, text), quote=False), pages, docs_uri)
    return re.sub(r"\x00(\d+)\x00", lambda match: codes[int(match[1])], marked)


def _convert_marks(text: str, pages: list[str], docs_uri: str) -> str:
    def find_target(target: str) -> str:
        name, _, anchor = target.partition("#")
        if name.endswith(".md") and name[:-3] in pages:
            return f"{name[:-3]}.html" + (f"#{anchor}" if anchor else "")
        return target if re.match(r"[a-z]+:|#", target) else f"{docs_uri}/{target}"

    text = re.sub(r"!\[([^\]]*)\]\(([^)]+)\)", lambda m: f'<img alt="{m[1]}" src="{find_target(m[2])}">', text)
    text = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", lambda m: f'<a href="{find_target(m[2])}">{m[1]}</a>', text)
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)


def make_anchor(heading: str) -> str:
    """Makes the name that links to a heading use.

    >>> make_anchor("The atlas: paint once for every frame")
    'the-atlas-paint-once-for-every-frame'
    """
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())
