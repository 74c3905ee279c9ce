"""A web page that stands before a file: what it is called, and where its download button leads."""

from __future__ import annotations

import html.parser
from collections.abc import Iterable
from urllib.parse import urlencode

__all__ = ["DownloadPage"]

PAGE_LIMIT = 1 << 20


class DownloadPage(html.parser.HTMLParser):
    """What of a page matters: its title, and where its button or link "download anyway" leads. Google Drive shows such
    a page before files that are too large for its virus scan."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.link = ""
        self._action: str | None = None
        self._fields: dict[str, str] = {}
        self._in_title = False
        self._in_form = False

    @classmethod
    def read(cls, blocks: Iterable[bytes]) -> DownloadPage:
        """From the bytes of a page, of which no more than PAGE_LIMIT are looked at."""
        text = b""
        for block in blocks:
            text += block
            if len(text) >= PAGE_LIMIT:
                break
        page = cls()
        page.feed(text[:PAGE_LIMIT].decode("utf-8", "replace"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "title":
            self._in_title = True
        elif tag == "form" and found.get("id") == "download-form":
            self._in_form, self._action = True, found.get("action", "")
        elif tag == "input" and self._in_form and found.get("name"):
            self._fields[found["name"]] = found.get("value", "")
        elif tag == "a" and found.get("id") == "uc-download-link":
            self.link = found.get("href", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag == "form":
            self._in_form = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data

    @property
    def confirmation(self) -> str:
        """Where the confirmed download is, "" on any other page."""
        if self._action is not None and self._fields:
            return f"{self._action}{'&' if '?' in self._action else '?'}{urlencode(self._fields)}"
        return self.link

    def format_title(self) -> str:
        title = " ".join(self.title.split())[:80]
        return f" ('{title}')" if title else ""
