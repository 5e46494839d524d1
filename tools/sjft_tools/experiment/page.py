"""One HTML file that holds everything it shows: readable on a phone, on a desktop and in print."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sjft_tools.experiment.pictures import Picture
from sjft_tools.experiment.style import STYLE

_SHORT, _LONG = 16, 40  # letters: names that may be broken on a phone, texts that may anywhere
_SHRUNK = 0.75  # of a picture's width is the least at which its letters are read


class Bar(NamedTuple):
    """A table's figure with a bar behind it, `share` (0 to 1) of the cell long."""

    words: str
    share: float


class Fact(NamedTuple):
    """One thing to know at once: what it is, the thing in few words, and more about it."""

    name: str
    main: str
    more: str = ""


class Example(NamedTuple):
    """A picture with a title and lines of text, and pictures like it, each with its caption."""

    picture: Picture
    title: str
    lines: Sequence[str]
    likes: Sequence[tuple[Picture, str]]


class Page:
    """Adds one piece below the other; text() returns the whole."""

    def __init__(self, title: str, lead: str) -> None:
        """Begin with the title, and a line below it."""
        self._title = html.escape(title)
        self._parts: list[str] = [
            f'<h1>{self._title}</h1>\n<p class="lead">{html.escape(lead)}</p>'
        ]
        self._contents: list[tuple[str, str]] = []  # (id, words) of the sections
        self._place: int | None = None  # among the parts, of the table of contents

    def contents(self) -> None:
        """Put the table of contents here."""
        self._place = len(self._parts)
        self._parts.append("")

    def heading(self, words: str) -> None:
        """Begin a section."""
        name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
        self._contents.append((name, words))
        self._parts.append(f'<h2 id="{name}">{html.escape(words)}</h2>')

    def subheading(self, words: str) -> None:
        """Begin a part of a section."""
        self._parts.append(f"<h3>{html.escape(words)}</h3>")

    def paragraph(self, words: str, is_warning: bool = False) -> None:
        """Add a paragraph of plain text."""
        kind = ' class="warning"' if is_warning else ""
        self._parts.append(f"<p{kind}>{html.escape(words)}</p>")

    def facts(self, facts: Iterable[Fact]) -> None:
        """Add facts, side by side where there is room."""
        boxes = []
        for fact in facts:
            more = f'<dd class="more">{html.escape(fact.more)}</dd>' if fact.more else ""
            boxes.append(
                f"<div><dt>{html.escape(fact.name)}</dt>"
                f'<dd class="main">{html.escape(fact.main)}</dd>{more}</div>'
            )
        self._parts.append(f'<dl class="facts">{"".join(boxes)}</dl>')

    def table(
        self,
        caption: str,
        header: Sequence[str],
        rows: Iterable[Sequence[object]],
        words: Sequence[int] = (0,),
        best: int | None = None,
    ) -> None:
        """Add a table, in a box that scrolls where it is too wide.

        `words`: the columns of names and text, the others hold figures; `best`: a row to stress.
        """
        label = html.escape(caption)
        self._parts.append(
            f'<p class="caption">{label}</p>'
            f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>'
        )
        head = "".join(
            f'<th scope="col"{" class=words" if i in words else ""}>{html.escape(name)}</th>'
            for i, name in enumerate(header)
        )
        self._parts.append(f"<thead><tr>{head}</tr></thead><tbody>")
        for place, row in enumerate(rows):
            cells = "".join(_cell(cell, i in words) for i, cell in enumerate(row))
            self._parts.append(f"<tr{' class=best' if place == best else ''}>{cells}</tr>")
        self._parts.append("</tbody></table></div>")

    def picture(self, picture: Picture, caption: str) -> None:
        """Add a picture, with what it shows in words; it scrolls before it gets too small."""
        words = html.escape(caption)
        width = f"min(100%, {picture.width}px)"
        self._parts.append(
            f'<figure><div class="wide" tabindex="0" role="region" aria-label="{words}">'
            f'<img alt="{words}" width="{picture.width}" height="{picture.height}" '
            f'style="width:{width};min-width:{round(_SHRUNK * picture.width)}px" '
            f'src="{picture.uri}"></div><figcaption>{words}</figcaption></figure>'
        )

    def examples(self, examples: Iterable[Example]) -> None:
        """Add pictures, each beside those that are like it."""
        for example in examples:
            lines = "".join(f"<p>{_unbroken(html.escape(line))}</p>" for line in example.lines)
            likes = "".join(
                f'<li><img alt="" src="{picture.uri}">{html.escape(caption)}</li>'
                for picture, caption in example.likes
            )
            title = html.escape(example.title)
            self._parts.append(
                f'<div class="example"><div class="subject">'
                f'<img alt="{title}" src="{example.picture.uri}">'
                f'<div><p class="title">{title}</p>{lines}</div></div>'
                f'<ol class="likes">{likes}</ol></div>'
            )

    def commands(self, lines: Iterable[str]) -> None:
        """Add commands as one types them."""
        self._parts.append(f'<pre tabindex="0">{html.escape(chr(10).join(lines))}</pre>')

    def text(self) -> str:
        """Return the HTML."""
        if self._place is not None:
            links = " ".join(
                f'<a href="#{name}">{html.escape(words)}</a>' for name, words in self._contents
            )
            self._parts[self._place] = f'<nav aria-label="Contents">{links}</nav>'
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{self._title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
            + "\n".join(self._parts)
            + "\n</body>\n</html>\n"
        )


def _unbroken(text: str) -> str:
    """Return `text` such that no line ends between a number and its per cent sign."""
    return text.replace(" %", "&nbsp;%")


def _cell(cell: object, is_words: bool) -> str:
    if isinstance(cell, Bar):
        style = f"--share:{100 * cell.share:.1f}%"
        return f'<td class="bar" style="{style}">{html.escape(cell.words)}</td>'
    text = html.escape(str(cell))
    if not is_words:
        return f"<td>{text}</td>"
    kind = " long" if len(text) > _LONG else " name" if len(text) > _SHORT else ""
    return f'<td class="words{kind}">{text}</td>'
