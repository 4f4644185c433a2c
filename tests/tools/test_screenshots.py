# SPDX-License-Identifier: Apache-2.0
"""The pictures of the README: the script that makes them works, and those that are there are whole."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import COMMAND, ROOT

PICTURES = ROOT / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


def words(path):
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    return " ".join(element.text for element in root.iter(f"{SVG}text"))


def test_the_script_makes_pictures(memtally, tmp_path):
    pytest.importorskip("pyte", reason="needs pyte (requirements-dev.txt)")
    done = subprocess.run([sys.executable, ROOT / "scripts" / "screenshots.py", "--memtally", COMMAND, "--output",
                           tmp_path, "--seconds", "4", "--in-place", "top", "top-dead"],
                          capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    names = {"top-dark.svg", "top-light.svg", "top-dead-dark.svg", "top-dead-light.svg"}
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        text = words(tmp_path / name)
        assert "chat-server" in text and "llama" in text and ("dead" in text) == ("dead" in name)
        # Bars are shapes, so that no font has to have them.
        assert (tmp_path / name).read_text().count("<rect") > 10
        assert not re.search("[\u2500-\u259f\u2800-\u28ff]", text)


def test_wrong_arguments_of_the_script(tmp_path):
    pytest.importorskip("pyte", reason="needs pyte (requirements-dev.txt)")
    for arguments, message in ((["nonsense"], "no such picture: nonsense"),
                               (["--memtally", tmp_path / "none"], "is not there")):
        done = subprocess.run([sys.executable, ROOT / "scripts" / "screenshots.py", "--output", tmp_path / "x", *arguments],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "x").exists()


def test_pictures_of_the_documents_are_there_and_name_nobodys_folders():
    named = set()
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r'(?:srcset|src)="([^"]+)"|!\[[^\]]*\]\(([^)]+)\)', page.read_text()):
            path = (page.parent / (target[0] or target[1])).resolve()
            assert path.is_file(), f"{page.name} shows {path}, which is not there"
            named.add(path)
    assert named, "the README shows no picture"
    assert named == set(PICTURES.iterdir())
    for path in named:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
            continue
        assert not re.search(r"/(tmp|home|build)/", words(path)), f"{path} shows a folder of one machine"
