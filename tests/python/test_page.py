# SPDX-License-Identifier: Apache-2.0
"""docs/python.md: each block is run, but for those with TT-NN, which tests/ttnn/test_python_page.py runs."""

import re
import sys

from page import PAGE, blocks, program, text_after
from wheel_build import ROOT, clean_environment, run


def test_every_block_is_known():
    """A new section needs a test that runs it."""
    assert {(block.section, block.language) for block in blocks()} == {
        ("", "sh"), ("TT-NN: which layer leaks", "python"), ("TT-NN: which layer leaks", "text"),
        ("Any allocator", "python"), ("Limits in pytest", "python"), ("Limits in pytest", "text")}


def test_installing(wheel, tmp_path):
    """As the page says, but into a folder, and with what is there already."""
    (block,) = [block for block in blocks() if block.language == "sh"]
    (command,) = block.text.splitlines()
    assert command.startswith("pip install ")
    run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-index", "--no-deps",
         "--no-build-isolation", "--target", tmp_path, *command.split()[2:]], cwd=ROOT, env=clean_environment())
    assert (tmp_path / "memtally" / "_native.abi3.so").exists()


def test_any_allocator(programs):
    out = programs.command(sys.executable, "-c", program("Any allocator"))
    assert "dram 12288 of 1073741824 peak 12288" in out and "decode / step 1    4096" in out and "'mark'" in out


def test_limits(programs):
    (programs.folder / "test_model.py").write_text(program("Limits in pytest"), encoding="utf-8")
    out = programs.command(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_model.py", code=1)
    for line in text_after("Limits in pytest").splitlines():
        assert line.strip() in out
    assert "2 failed" in out


def test_pictures_and_links_exist():
    text = PAGE.read_text(encoding="utf-8")
    for target in re.findall(r'src="([^"]+)"', text) + re.findall(r"\]\(([^)#]+)", text):
        assert (PAGE.parent / target).exists(), target
