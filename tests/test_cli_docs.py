"""Every command, option, link and file that the documentation names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from napari_kidnet.cli import build_parser

REPOSITORY = Path(__file__).resolve().parents[1]
PAPERS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])


def commands() -> list[str]:
    found = []
    for paper in PAPERS:
        for block in re.findall(r"```(?:bash|sh|console)?\n(.*?)```", paper.read_text("utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"(\$ )?kidnet ", line):
                    found.append(line.removeprefix("$ "))
    return sorted(set(found))


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_is_understood(command):
    words = shlex.split(command.split(" # ")[0].split(" | ")[0], comments=True)[1:]
    options = build_parser().parse_args(words)
    assert callable(options.run)


def test_the_documentation_names_all_verbs():
    text = (REPOSITORY / "docs" / "cli.md").read_text("utf-8")
    parser = build_parser()
    verbs = next(each for each in parser._actions if each.dest != "help" and each.choices).choices
    for name, verb in verbs.items():
        assert re.search(rf"kidnet {name}\b", text), name
        section = text[text.index(f"## {'open, prefer' if name in ('open', 'prefer') else name}") :]
        section = section.split("\n## ")[0]
        if name == "segment":
            for action in verb._actions:
                for option in action.option_strings:
                    assert option in text or option in ("-h", "--help"), option


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_links_lead_somewhere(paper):
    broken = [
        target
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", paper.read_text("utf-8"))
        if not (paper.parent / target).exists()
    ]
    assert broken == []
