"""The documentation: links lead somewhere, commands are taken, lists of files are whole."""

from __future__ import annotations

import re

import pytest

from conftest import REPO, run_sjft
from pages import (
    PAGES,
    anchors,
    links,
    options_of,
    parser_of,
    prose,
    shell_blocks,
    shell_commands,
    text_of,
)
from sjft_tools.cli import COMMANDS
from sjft_tools.examples import EXAMPLES


def commands(program: str) -> list[list[str]]:
    """The words behind the program's name in each command of all pages; the page comes first."""
    found = []
    for page in PAGES:
        for words in (words for block in shell_blocks(page) for words in shell_commands(block)):
            while "=" in words[0] or words[0].endswith("/run"):
                words = words[1:]
            if words[0] == program:
                found.append([page, *words[1:]])
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        place = (REPO / page).parent.joinpath(path).resolve() if path else REPO / page
        assert place.exists(), link
        if anchor:
            assert anchor in anchors(str(place.relative_to(REPO))), link


def test_the_readme_leads_to_every_page() -> None:
    pages = {page for page in PAGES if page.startswith("docs/")}
    assert pages <= {link.partition("#")[0] for link in links("README.md")}


def test_sjft_takes_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = commands("sjft")
    assert len(found) > 150
    for page, command, *words in found:
        assert command in COMMANDS, (page, command)
        parser = parser_of(command)
        if "..." in words:
            assert {word for word in words if word.startswith("--")} <= options_of(parser), words
            continue
        try:
            parser.parse_args(words)
        except SystemExit:
            pytest.fail(f"{page}: sjft {command} {' '.join(words)}: {capsys.readouterr().err}")


def test_every_help_has_examples_that_sjft_takes() -> None:
    assert list(EXAMPLES) == list(COMMANDS)
    for command, text in EXAMPLES.items():
        found = [words for words in shell_commands(text) if words[0] == "sjft"]
        assert found and {words[1] for words in found} == {command}
        for words in found:
            parser_of(command).parse_args(words[2:])
    assert EXAMPLES["retrieve"] in run_sjft("retrieve", "--help")


def test_commands_stand_in_fences() -> None:
    """Where the test above finds them."""
    for page in PAGES:
        assert not re.search(r"^    (\$ )?sjft ", prose(page), re.MULTILINE), page


def test_sjft_has_every_option_that_is_named() -> None:
    """In running text, as `sjft convert --resize-shorter 256`, and in tables of options."""
    for page in PAGES:
        for code in re.findall(r"`(sjft [^`]+)`", prose(page)):
            command, *words = code.split()[1:]
            if command.isupper() or command.startswith("-") or re.search(r" \d+$", code):
                continue
            assert command in COMMANDS, (page, code)
            assert set(re.findall(r"--[a-z][\w-]*", " ".join(words))) <= options_of(
                parser_of(command)
            ), (page, code)


def test_every_other_command_is_there() -> None:
    makefile = text_of("Makefile")
    for page, target, *_ in commands("make"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"
    for page, script, *words in [*commands("python"), *commands("python3")]:
        if script.endswith(".py"):
            options = [word for word in words if word.startswith("--")]
            assert all(f'"{option}"' in text_of(script) for option in options), (page, script)


@pytest.mark.parametrize("folder", ["python_layers", "tools", "tests", "benchmarks"])
def test_every_file_stands_in_its_readme(folder: str) -> None:
    """By its name, or by that of a folder that has no section of its own; and no others do."""
    text = text_of(f"{folder}/README.md")
    sections = set(re.findall(r"^#+ (\w+)/", text, re.MULTILINE))
    names = {"env.sh", "setup.py"}
    for suffix in ("py", "sh"):
        for file in (REPO / folder).rglob(f"*.{suffix}"):
            names.add(file.name)
            folders = {parent.name for parent in file.relative_to(REPO / folder).parents}
            named = [file.name, *(f"{name}/" for name in folders - sections - {""})]
            assert file.name == "__init__.py" or any(name in text for name in named), file
    assert set(re.findall(r"`(\w+\.(?:py|sh))`", text)) <= names
