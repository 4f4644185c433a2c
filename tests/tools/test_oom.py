# SPDX-License-Identifier: Apache-2.0
"""memtally oom: against what the framework itself said when a recording of it ran out of memory."""

import contextlib
import time

import pytest

from document_schemas import validate

# From the exception that TT-NN's allocator threw, and its own list of blocks.
NEEDED, FREE, LARGEST, BANK, REQUESTED = 2797568, 7022528, 2551744, 1072693184, 33554432


@contextlib.contextmanager
def held(memtally, *arguments):
    """A replay that stays alive at the end of its recording; gives its process, as ps has it."""
    replay = memtally.start("replay", *arguments, "--speed", "max", "--hold")
    try:
        deadline = time.monotonic() + 60
        while True:
            found = [each for each in memtally.json("ps")["processes"] if each["anomalies"]["failed_allocation"]["count"]]
            if found:
                break
            assert time.monotonic() < deadline and replay.poll() is None
            time.sleep(0.05)
        yield found[0]
    finally:
        replay.terminate()
        replay.communicate(timeout=60)


@pytest.fixture
def leaked(memtally):
    memtally.run("replay", "leak-until-oom-n150", "--name", "chat")
    return memtally


def test_what_the_framework_said(leaked):
    [shortage] = validate(leaked.json("oom"))["shortages"]
    assert shortage["demand"]["bytes_requested"] == REQUESTED
    assert shortage["demand"]["bytes_per_bank"] == NEEDED
    assert shortage["capacity_bytes_per_bank"] == BANK
    assert shortage["free_bytes_per_bank"] == FREE
    assert shortage["held_bytes_per_bank"] == BANK - FREE
    assert shortage["largest_free_bytes_per_bank"] == LARGEST
    assert (shortage["fits"], shortage["fragmentation"]) == (False, True)
    assert shortage["events_since"] == 0
    assert shortage["process"]["command"] == "chat"
    assert shortage["others"] == []


def test_what_would_have_to_go(leaked):
    [shortage] = leaked.json("oom")["shortages"]
    clearing = shortage["clearing"]
    assert sum(buffer["bytes_per_bank"] for buffer in clearing["buffers"]) == clearing["bytes_per_bank"]
    # With these gone, and no others, the block is free.
    [document] = [leaked.json("buffers", "--kind", "dram", "--limit", 0)]
    going = {buffer["address"] for buffer in clearing["buffers"]}
    room = (clearing["address"], clearing["address"] + NEEDED)
    for buffer in document["buffers"]:
        if buffer["address"] in going:
            continue
        assert buffer["address"] + buffer["bytes_per_bank"] <= room[0] or buffer["address"] >= room[1], buffer
    shares = {share["tag"]: share for share in shortage["tags"]}
    copies = shares["request / debug copy"]
    assert copies["count"] == 462
    assert copies["largest_free_bytes_per_bank_without"] > NEEDED
    assert sum(share["bytes_per_bank"] for share in shares.values()) == shortage["held_bytes_per_bank"]
    assert shares["request / kv"]["largest_free_bytes_per_bank_without"] < NEEDED


def test_screen(leaked):
    text = leaked.run("oom").stdout
    assert f"{REQUESTED} B (32.0 MiB) of dram" in text
    assert f"largest free block          {LARGEST} B" in text
    assert "fragmentation" in text
    assert "request / debug copy" in text
    assert "The least that would have to go: 1 buffer" in text


def test_supposed(leaked):
    small, large, absurd = (leaked.json("oom", "--kind", "dram", "--bytes", amount)["shortages"][0]
                            for amount in (12 * LARGEST, 12 * LARGEST + 1, 12 * BANK + 12))
    assert small["fits"] and small["clearing"]["buffers"] == [] and small["demand"]["time_ns"] is None
    assert not large["fits"] and large["fragmentation"]
    assert not absurd["fits"] and not absurd["fragmentation"] and absurd["clearing"] is None
    assert "larger than the whole memory" in leaked.run("oom", "--kind", "dram", "--bytes", 12 * BANK + 12).stdout
    assert "would fit" in leaked.run("oom", "--kind", "dram", "--bytes", 1).stdout
    assert leaked.run("oom", "--kind", "trace", "--bytes", 1).stdout == "No process has trace memory there.\n"
    for document in (small, large, absurd):
        assert document["banks"] == 12


def test_who_else_holds_it(memtally, trace_file):
    """Two processes on one card: what the other holds is named."""
    lines = ["1 1 a 0 DRAM 1 64 6000 500", "2 1 a 0 DRAM 2 700 1200 100"]
    with held(memtally, trace_file(*lines, "3 1 x 0 DRAM 6000 500", name="a.trace"), "--name", "asking", "--device-id",
              9) as asking, held(memtally, trace_file(*lines, "3 1 x 0 L1 64 1", name="b.trace"), "--name", "other",
                                 "--device-id", 9):
        deadline = time.monotonic() + 60
        while True:
            document = validate(memtally.json("oom", "--pid", asking["pid"]))
            [shortage] = document["shortages"]
            if shortage["others"]:
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        [other] = shortage["others"]
        assert other["process"]["command"] == "other"
        assert other["live"]["bytes_reserved"] == 600 * 12
        text = memtally.run("oom", "--pid", asking["pid"]).stdout
        assert "Other processes that hold the same memory:" in text and "other (pid" in text
        assert "are missing" in text or "fragmentation" in text


def test_nothing_failed(memtally):
    assert memtally.run("oom").stdout == "No allocation has failed.\n"
    assert validate(memtally.json("oom"))["shortages"] == []
    memtally.run("replay", "llama-1b-n150", "--kill-after", 2000)
    assert memtally.run("oom").stdout == "No allocation has failed.\n"


@pytest.mark.parametrize("arguments, complaint", [
    (["--bytes", "5"], "--kind"),
    (["--bytes", "-1", "--kind", "dram"], "takes a number from 0 on"),
    (["--bytes", "1GiB", "--kind", "dram"], "number"),
    (["--pid", "x"], "number"),
    (["extra"], "extra"),
])
def test_wrong_arguments(memtally, arguments, complaint):
    done = memtally.run("oom", *arguments, code=2)
    assert complaint in done.stderr and "memtally oom --help" in done.stderr


def test_nobody(memtally):
    assert "4194300" in memtally.run("oom", "--pid", 4194300, code=1).stderr
