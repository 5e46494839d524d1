"""One HTML file that holds everything it shows: readable on a phone, on a desktop and in print."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th, td:first-child { white-space: nowrap; } th { font-weight: 600; }
figure { margin: 1rem 0; } figcaption { color: var(--dim); font-size: .9rem; }
img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
pre { overflow-x: auto; font-size: .85rem; padding: .75rem; border: 1px solid var(--line); }
"""


class Page:
    """Adds one piece below the other; text() returns the whole."""

    def __init__(self, title: str) -> None:
        self._title = html.escape(title)
        self._parts: list[str] = [f"<h1>{self._title}</h1>"]

    def heading(self, words: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(words)}</h2>")

    def paragraph(self, words: str) -> None:
        """Add a paragraph of plain text."""
        self._parts.append(f"<p>{html.escape(words)}</p>")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table: the first column holds names, the others figures."""
        self._parts.append('<div class="wide"><table>')
        self._parts.append(_row("th", header))
        self._parts.extend(_row("td", row) for row in rows)
        self._parts.append("</table></div>")

    def picture(self, path: str, caption: str) -> None:
        """Add the PNG file `path`, with what it shows in words."""
        content = base64.b64encode(Path(path).read_bytes()).decode("ascii")
        words = html.escape(caption)
        self._parts.append(
            f'<figure><img alt="{words}" src="data:image/png;base64,{content}">'
            f"<figcaption>{words}</figcaption></figure>"
        )

    def commands(self, lines: Iterable[str]) -> None:
        """Add commands as one types them."""
        self._parts.append(f"<pre>{html.escape(chr(10).join(lines))}</pre>")

    def text(self) -> str:
        """Return the HTML."""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{self._title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            + "\n".join(self._parts)
            + "\n</body>\n</html>\n"
        )


def _row(tag: str, cells: Iterable[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
