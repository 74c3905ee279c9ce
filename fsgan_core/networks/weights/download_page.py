"""Reads a web page that is shown in place of a file: its title, and where its download button leads."""

from __future__ import annotations

import html.parser
from collections.abc import Iterable
from urllib.parse import urlencode

__all__ = ["DownloadPage"]

PAGE_LIMIT = 1 << 20  # bytes of a page that are read


class DownloadPage(html.parser.HTMLParser):
    """The title of a page, and where its button or link "download anyway" leads.

    Google Drive shows such a page before files that are too large for its virus scan.

    Attributes:
        title: The page's title.
        link: Address behind the link, "" if there is none.
    """

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
        """Reads a page from its bytes, at most PAGE_LIMIT of them."""
        text = b""
        for block in blocks:
            text += block
            if len(text) >= PAGE_LIMIT:
                break
        page = cls()
        page.feed(text[:PAGE_LIMIT].decode("utf-8", "replace"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser for an opening tag."""
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
        """Called by the parser for a closing tag."""
        if tag == "title":
            self._in_title = False
        elif tag == "form":
            self._in_form = False

    def handle_data(self, data: str) -> None:
        """Called by the parser for text between tags."""
        if self._in_title:
            self.title += data

    @property
    def confirmation(self) -> str:
        """Address of the confirmed download, "" on any other page."""
        if self._action is not None and self._fields:
            return f"{self._action}{'&' if '?' in self._action else '?'}{urlencode(self._fields)}"
        return self.link

    def format_title(self) -> str:
        """Formats the title for a message, in brackets and with a space before; "" if there is none."""
        title = " ".join(self.title.split())[:80]
        return f" ('{title}')" if title else ""
