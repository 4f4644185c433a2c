# SPDX-License-Identifier: Apache-2.0
"""memtally clash: against what the framework itself said when a recording of it could not run an operation."""

from document_schemas import validate

# From the exception: "L1 buffer allocated at 385024 and static dataflow buffer region ends at 398688".
LOWEST, END = 385024, 398688
EVENTS = 180  # of the recording, up to then


def test_what_the_framework_said(memtally):
    memtally.run("replay", "l1-clash-n150", "--kill-after", EVENTS)
    [clash] = validate(memtally.json("clash"))["clashes"]
    assert (clash["end"], clash["memory"], clash["group"]) == (END, "l1", 0)
    [buffer] = clash["in_the_way"]
    assert (buffer["address"], buffer["tag"], buffer["kind"]) == (LOWEST, "cache 33", "l1")
    assert clash["bytes_per_bank"] == buffer["bytes_per_bank"] == 32768
    text = memtally.run("clash").stdout
    assert f"to {END} (" in text and f"{LOWEST} (" in text and "13664 B" in text and "cache 33" in text


def test_before_the_last_buffer_there_is_none(memtally):
    memtally.run("replay", "l1-clash-n150", "--kill-after", EVENTS - 4)
    assert validate(memtally.json("clash"))["clashes"] == []
    assert memtally.run("clash").stdout == "No program's buffers lie where others are.\n"


def test_what_is_in_the_way(memtally, trace_file):
    """Those that share a byte with the space between the first and the last byte of the program's, and no others."""
    trace = trace_file("1 1 a 0 DFB 1 100 640 10", "2 1 a 0 DFB 2 110 640 10", "3 1 a 0 CB 3 200 640 10",
                       "4 1 a 0 L1 1 90 640 10", "5 1 > low", "6 1 a 0 L1 2 95 640 6", "7 1 <", "8 1 > high",
                       "9 1 a 0 L1 3 209 640 100", "10 1 <", "11 1 a 0 L1 4 210 640 1", "12 1 a 0 L1 5 150 640 10",
                       "13 1 f 0 L1 5", "14 1 a 0 DRAM 1 100 12 1")
    memtally.run("replay", trace, "--kill-after", 10)
    [clash] = validate(memtally.json("clash", "--all"))["clashes"]
    assert (clash["begin"], clash["end"], clash["buffers"]) == (100, 210, 3)
    assert [(buffer["address"], buffer["tag"]) for buffer in clash["in_the_way"]] == [(95, "low"), (209, "high")]
    assert clash["bytes_per_bank"] == 106
    assert memtally.json("clash", "--group", 7)["clashes"] == []
    assert len(memtally.json("clash", "--group", 0, "--device", 0)["clashes"]) == 1
    assert memtally.json("clash", "--device", 1)["clashes"] == []
    assert "4711" in memtally.run("clash", "--pid", 4711, code=1).stderr
