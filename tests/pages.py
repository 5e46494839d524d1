"""The pages of the documentation: their links, headings and shell commands."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator

from conftest import REPO
from sjft_tools.command import Parser

FOLDERS = ["", "docs", "prototxt", "python_layers", "tools", "tests", "benchmarks"]
PAGES = sorted(
    str(page.relative_to(REPO))
    for folder in FOLDERS
    for page in (REPO / folder).glob("**/*.md" if folder == "prototxt" else "*.md")
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (REPO / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", text_of(page))


def links(page: str) -> list[str]:
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page))


def anchors(page: str) -> set[str]:
    """Those of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_blocks(page: str) -> list[str]:
    return [code for language, code in FENCE.findall(text_of(page)) if language == "sh"]


def shell_commands(block: str) -> Iterator[list[str]]:
    """The words of each command.

    A loop's variable has its first value; one that is not set in the block is 1.
    """
    values: dict[str, str] = {}

    def filled(word: str) -> str:
        return re.sub(r"\$\{?(\w+)\}?", lambda name: values.get(name[1], "1"), word)

    for pattern, text in ((r"(^|\s)#.*$", ""), (r"\\\n", " "), (r"\$\(\(.*?\)\)", "1")):
        block = re.sub(pattern, text, block, flags=re.MULTILINE)
    lexer = shlex.shlex(block, posix=True, punctuation_chars=";&|<>\n")
    lexer.whitespace, lexer.whitespace_split = " ", True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word.strip(";&|<>\n"):
            words.append(filled(word))
            continue
        if words[:1] == ["for"]:
            values[words[1]] = words[3]
        elif words and all("=" in each for each in words):
            values.update(each.split("=", 1) for each in words)
        elif words not in ([], ["do"], ["done"]):
            yield words[1:] if words[0] == "do" else words
        words = []


def parser_of(command: str) -> Parser:
    """The parser of a command of sjft, its own one."""
    module = importlib.import_module(f"sjft_tools.commands.{command.replace('-', '_')}")
    parser = Parser(prog=f"sjft {command}")
    module.add_arguments(parser)
    return parser


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a parser and of its forms."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options.update(*map(options_of, action.choices.values()))
    return options
