# SPDX-License-Identifier: Apache-2.0
"""Broken traces: each error names the file, the line, what was expected and what was there."""

import pytest
from conftest import RECORDINGS

# Line 5 of a trace that is otherwise right -> what is said of it.
BROKEN_LINES = {
    "": "expected nanoseconds since the start, or one of device, kind, view, anomaly, found 'the end of the line'",
    "hello": "expected nanoseconds since the start, or one of device, kind, view, anomaly, found 'hello'",
    "-5 1 c 0": "found '-5'",
    "99999999999999999999 1 c 0": "found '99999999999999999999'",
    "10": "expected a thread (a number), found 'the end of the line'",
    "10 x c 0": "expected a thread (a number), found 'x'",
    "10 1": "expected one of a, f, x, c, >, <, found 'the end of the line'",
    "10 1 q 0": "expected one of a, f, x, c, >, <, found 'q'",
    "10 1 c 3": "expected a chip that an earlier device line names, found '3'",
    "10 1 c": "expected a chip (a number), found 'the end of the line'",
    "10 1 c 0 0": "expected the end of the line, found '0'",
    "10  1 c 0": "expected a thread (a number), found ' 1 c 0'",
    "10 1 a 0 DRAM": "expected the id of the buffer (a number), found 'the end of the line'",
    "10 1 a 0 DRAM abc 0 1 1": "expected the id of the buffer (a number), found 'abc'",
    "10 1 a 0 DRAM 1 0x10 1 1": "expected the address of the buffer (a number), found '0x10'",
    "10 1 a 0 DRAM 1 0 1.5 1": "expected the bytes that were requested (a number), found '1.5'",
    "10 1 a 0 DRAM 1 0 1": "expected the bytes a bank or core (a number), found 'the end of the line'",
    "10 1 a 0 " + 40 * "K" + " 1 0 1 1": "expected a kind's name of at most 39 bytes",
    "10 1 f 0": "expected a kind, found 'the end of the line'",
    "10 1 f 0 DRAM": "expected the id of the buffer (a number)",
    "10 1 x 0 DRAM 5": "expected the bytes a bank or core (a number)",
    "10 1 <": "expected a tag of this thread to leave",
    "10 1 >": "expected a tag, found 'the end of the line'",
    "10 1 > zero\0byte": "expected a tag without zero bytes",
    "device": "expected a chip (a number)",
    "device -1 v a 0": "expected a chip from 0 on",
    "device 1 v": "expected the architecture of the device",
    "device 1 v a x": "expected the unique id of the device (a number, 0 if unknown), found 'x'",
    "kind 7 DRAM 1 1 1": "expected a chip that an earlier device line names",
    "kind 0 DRAM 1 0 1": "expected at least one bank, found '0 1'",
    "kind 0 DRAM 1 4294967296 1": "expected the number of banks, found '4294967296'",
    "view": "expected the name of the view",
    "view v DRAM 5": "expected the number of banks, found 'the end of the line'",
    "view v DRAM x 12": "expected allocated bytes a bank (a number), found 'x'",
    "anomaly": "expected the name of an anomaly",
    "anomaly odd 3": "expected the name of an anomaly, such as unknown_free, found 'odd'",
    "anomaly replaced": "expected how often it was counted (a number)",
    "10 1 c \x1b[31m": r"expected a chip (a number), found '\x1b[31m'",
}


@pytest.mark.parametrize("line", BROKEN_LINES, ids=range(len(BROKEN_LINES)))
def test_broken_line(memtally, trace_file, line):
    path = trace_file(line)
    done = memtally.run("replay", path, code=1)
    assert done.stderr.startswith(f"memtally: {path}:5: expected ")
    assert BROKEN_LINES[line] in done.stderr
    assert "\x1b" not in done.stderr and done.stdout == ""


@pytest.mark.parametrize("first, said", [
    ("", "expected 'memtally-trace' and a version, found"),
    ("memtally-trace", "expected a version (a number), found 'the end of the line'"),
    ("memtally-trace x", "expected a version (a number), found 'x'"),
    ("memtally-trace 2", "expected version 1, found version 2; a newer memtally may read it"),
    ("memtally-trace 1 1", "expected the end of the line, found '1'"),
    ("\x7fELF", "expected 'memtally-trace' and a version, found '\\x7fELF'"),
])
def test_first_line(memtally, trace_file, first, said):
    path = trace_file(first, head=False)
    for arguments in ([], ["--keep-going"]):
        done = memtally.run("replay", path, *arguments, code=1)
        assert done.stderr.startswith(f"memtally: {path}:1: ") and said in done.stderr


def test_empty_file(memtally, tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert f"{path}:1: expected 'memtally-trace'" in memtally.run("replay", path, code=1).stderr


def test_last_line_without_its_end(memtally, trace_file):
    path = trace_file("10 1 a 0 DRAM 1 0 100 10")
    path.write_bytes(path.read_bytes()[:-1])
    assert "1 events" in memtally.run("replay", path, "--check").stdout
    path.write_bytes(path.read_bytes()[:-3])  # "10 1 a 0 DRAM 1 0 100"
    assert ":5: expected the bytes a bank or core" in memtally.run("replay", path, code=1).stderr


def test_line_without_an_end(memtally, trace_file):
    path = trace_file("10 1 > " + (2 << 20) * "x")
    assert f"{path}:5: expected lines of at most 1 MiB" in memtally.run("replay", path, code=1).stderr


def test_cut_and_damaged_compression(memtally, tmp_path):
    data = (RECORDINGS / "mesh-n300.trace.zst").read_bytes()
    path = tmp_path / "cut.trace.zst"
    path.write_bytes(data[: len(data) // 2])
    assert f"{path}: ends in the middle of its compressed data" in memtally.run("replay", path, code=1).stderr
    path.write_bytes(data[:1000] + bytes(byte ^ 0x55 for byte in data[1000:1100]) + data[1100:])
    assert memtally.run("replay", path, code=1).stderr.startswith(f"memtally: {path}")


def test_what_is_no_file(memtally, tmp_path):
    assert "is a folder, not a trace" in memtally.run("replay", tmp_path, code=1).stderr
    assert "there is no such file" in memtally.run("replay", tmp_path / "none", code=1).stderr


def test_errors_with_keep_going_end(memtally, trace_file):
    done = memtally.run("replay", trace_file(*["nonsense"] * 1000), "--keep-going", code=1)
    assert done.stderr.count("\n") == 100
