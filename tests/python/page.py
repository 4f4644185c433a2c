# SPDX-License-Identifier: Apache-2.0
"""The code blocks of docs/python.md."""

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


class Block(NamedTuple):
    section: str  # of the second level; "" before the first
    language: str
    text: str


def blocks():
    found, section, language, lines = [], "", None, []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        fence = re.fullmatch(r"```(\w*)", line)
        if fence and language is None:
            language, lines = fence[1], []
        elif fence:
            found.append(Block(section, language, "\n".join(lines) + "\n"))
            language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("## "):
            section = line[3:]
    assert language is None
    return found


def program(section):
    """The Python blocks of a section as one program."""
    parts = [block.text for block in blocks() if block.section == section and block.language == "python"]
    assert parts
    return "\n".join(parts)


def text_after(section, number=0):
    """A block of text in a section: what the page says that is printed."""
    return [block.text for block in blocks() if block.section == section and block.language == "text"][number]
