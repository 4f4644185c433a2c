# SPDX-License-Identifier: Apache-2.0
"""MEMTALLY_OOM_REPORT: what is said at the moment when something does not fit, against what the framework itself says."""

import re

import pytest


def end_of(output):
    """What the program says of children and signals."""
    lines = output.splitlines()[-2:]
    assert "child" in lines[0] and "signals" in lines[1]
    return lines


def alone(mock, *arguments, **options):
    """The output of the program without memtally, with the framework's cache of kernels warm: filling it takes children."""
    mock.run("shortage.py", *arguments, preload=(), **options)
    return mock.run("shortage.py", *arguments, preload=(), **options)[0]


def test_out_of_memory_says_what_the_framework_says(board):
    expected = end_of(alone(board, "memory", 3))
    out, err = board.run("shortage.py", "memory", 3, MEMTALLY_OOM_REPORT="stderr")
    asked, banks, needed, size, free, largest = map(int, re.search(
        r"allocate (\d+) B DRAM buffer across (\d+) banks, where each bank needs to store (\d+) B, but bank size is (\d+) B "
        r"\(allocated: \d+ B, free: (\d+) B, largest free block: (\d+) B\)", out).groups())
    assert f": {asked} B (64.0 GiB) of dram on device 0" in err
    assert re.search(rf"needed in each of {banks} banks +{needed} B", err)
    assert re.search(rf"free in a bank +{free} B .* of {size} B", err)
    assert re.search(rf"largest free block +{largest} B", err)
    assert err.count("did not fit") == 1 and "clash" not in err  # the first of three
    assert end_of(out) == expected


@pytest.mark.parametrize("name", ["n150", "p150"])
def test_clash_says_what_the_framework_says(board, tmp_path, name):
    expected = end_of(alone(board, "clash", board=name))
    out, err = board.run("shortage.py", "clash", board=name, MEMTALLY_OOM_REPORT=str(tmp_path))
    program, lowest, end = re.search(
        r"in program (\d+) clash with L1 buffers .* L1 buffer allocated at (\d+) and static \w+ buffer region ends at (\d+)", out).groups()
    [report] = tmp_path.iterdir()
    assert re.fullmatch(r"memtally-clash\.\d+\.1\.txt", report.name)
    text = report.read_text()
    assert f": program {program}: " in text and f"to {end} (" in text and f"way    {lowest} (" in text
    assert err == "" and end_of(out) == expected


def test_files_are_no_more_than_so_many(board, tmp_path):
    board.run("shortage.py", "memory", 20, MEMTALLY_OOM_REPORT=str(tmp_path))
    reports = list(tmp_path.iterdir())
    assert len(reports) == 16 and all("did not fit" in report.read_text() for report in reports)


@pytest.mark.parametrize("value", ["", "0", "relative", "/no/such/folder"])
def test_nothing_is_said_where_nothing_can_be(board, value):
    without = board.run("shortage.py", "memory", preload=())
    with_it = board.run("shortage.py", "memory", MEMTALLY_OOM_REPORT=value)
    assert with_it[1] == without[1] == ""
