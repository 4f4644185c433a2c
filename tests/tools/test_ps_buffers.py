# SPDX-License-Identifier: Apache-2.0
"""memtally ps and memtally buffers: what they show, their JSON, and what strangers' names do to them."""

import os
import re

import pytest
from document_schemas import validate

# The ends of a recording, counted by hand from its text.
LEAK = {"buffers": 550, "per_bank": 1065670656, "banks": 12, "capacity": 12872318208, "debug_copies": 462}


@pytest.fixture
def leaked(memtally):
    memtally.run("replay", "leak-until-oom-n150", "--name", "leaky")
    return memtally


@pytest.fixture
def killed(memtally):
    """Llama, in the middle of decoding: DRAM, L1, and buffers that overlap."""
    memtally.run("replay", "llama-1b-n150", "--kill-after", 20000)
    return memtally


@pytest.mark.parametrize("arguments", [["ps"], ["ps", "--all"], ["ps", "--no-clean-up"], ["buffers"],
                                       ["buffers", "--by-tag"], ["buffers", "--by", "size"],
                                       ["buffers", "--by", "kind"], ["buffers", "--limit", "3"],
                                       ["buffers", "--tag", "nothing has this"]], ids=" ".join)
def test_json_follows_its_schema(killed, arguments):
    killed.run("replay", "mesh-n300", "--device-id", 5)
    (killed.folder / "memtally-0-1-00000000000000000000000000000000.ledger").write_bytes(b"no ledger")
    document = validate(killed.json(*arguments))
    assert document["host"]["name"] == os.uname().nodename
    assert document["host"]["boot_id"] == open("/proc/sys/kernel/random/boot_id").read().strip().replace("-", "")


def test_json_of_nothing(memtally):
    for name in ("ps", "buffers"):
        document = validate(memtally.json(name))
        assert document["processes"] == []
    assert memtally.run("ps").stdout == "No process holds device memory.\n"
    assert memtally.run("buffers").stdout == "No live buffers.\n"


def test_ps_says_what_the_dead_held(leaked):
    [process] = leaked.json("ps")["processes"]
    assert (process["command"], process["state"], process["uid"]) == ("leaky", "dead", os.getuid())
    failed = process["anomalies"]["failed_allocation"]
    assert (failed["count"], failed["bytes_requested"]) == (1, 33554432)
    assert [event["operation"] for event in failed["last"]] == ["alloc_failed"]
    assert set(process["losses"].values()) == {0}
    [dram] = [account for account in process["accounts"] if account["kind"] == "dram"]
    assert dram["live"]["count"] == LEAK["buffers"]
    assert dram["live"]["bytes_reserved"] == LEAK["per_bank"] * LEAK["banks"]
    assert (dram["banks"], dram["capacity_bytes"]) == (LEAK["banks"], LEAK["capacity"])
    assert dram["peak_bytes_reserved_slack"] == 0

    lines = leaked.run("ps").stdout.splitlines()
    assert lines[0].split()[:11] == "PID USER STATE COMMAND DEVICE KIND BUFFERS REQUESTED RESERVED PEAK %".split()
    assert re.fullmatch(rf" *{process['pid']}  \S+ +dead +leaky +0:wormhole_b0  dram +550 +11.9 GiB +11.9 GiB "
                        r"+11.9 GiB +99.3( +\S.*)?", lines[1])
    assert lines[2].strip() == "! ended without closing its device, and held 550 buffers"
    assert lines[3].strip() == "! anomalies: failed_allocation 1 (32.0 MiB)"
    assert lines[4] == "" and lines[5].split()[:3] == ["MACHINE", "DEVICE", "MEMORY"]
    assert re.fullmatch(r"total +0:wormhole_b0 +dram +0 B +12.0 GiB +0.0 +0 B +0 +11.9 GiB", lines[6])
    assert len(lines) == 7
    assert " l1 " in leaked.run("ps", "--all").stdout  # never used


def test_ps_leaves_out_the_dead_that_hold_nothing(memtally):
    memtally.run("replay", "resnet50-n150")
    assert memtally.json("ps")["processes"] == []
    everything = memtally.json("ps", "--all")["processes"]
    assert len(everything) == len(memtally.ledgers())
    for process in everything:
        released = {account["kind"]: account["released"]["count"] for account in process["accounts"]}
        assert all(account["live"]["count"] == 0 for account in process["accounts"])
        assert released["dram"] > 0


def test_overlapping_kinds_have_no_percentage(killed):
    text = killed.run("ps").stdout
    assert re.search(r" dfb\* .* -\n", text) and re.search(r" cb\* .* -\n", text)
    assert "* buffers of this kind share addresses" in text
    sums = {entry["kind"]: entry for entry in killed.json("buffers")["sums"]}
    assert sums["dfb"]["overlaps"] and not sums["dram"]["overlaps"]
    buffers = killed.json("buffers", "--kind", "dfb")["buffers"]
    assert sums["dfb"]["lowest_address"] == min(buffer["address"] for buffer in buffers)
    assert sums["dfb"]["highest_end"] == max(buffer["address"] + buffer["bytes_per_bank"] for buffer in buffers)
    assert "overlapping, from 0x" in killed.run("buffers", "--kind", "dfb").stdout


def test_buffers_add_up_to_ps(killed):
    [process] = killed.json("ps")["processes"]
    document = killed.json("buffers")
    assert document["matching"] == len(document["buffers"])
    for account in process["accounts"]:
        buffers = [buffer for buffer in document["buffers"] if buffer["kind"] == account["kind"]]
        assert len(buffers) == account["live"]["count"]
        for field in ("bytes_requested", "bytes_reserved"):
            assert sum(buffer[field] for buffer in buffers) == account["live"][field]
        for buffer in buffers:
            assert buffer["bytes_reserved"] == buffer["bytes_per_bank"] * account["banks"]
            assert buffer["age_ns"] > 0 and buffer["thread_id"] > 0
    by_tag = killed.json("buffers", "--by-tag")["parts"]
    assert sum(entry["count"] for entry in by_tag) == document["matching"]
    assert {entry["tag"] for entry in by_tag} == {buffer["tag"] for buffer in document["buffers"]}


@pytest.mark.parametrize("order, key, down", [("size", "bytes_reserved", True), ("age", "time_ns", False),
                                              ("id", "id", False), ("address", "address", False)])
def test_order(leaked, order, key, down):
    buffers = leaked.json("buffers", "--sort", order)["buffers"]
    values = [buffer[key] for buffer in buffers]
    assert values == sorted(values, reverse=down) and len(values) == LEAK["buffers"]
    first = leaked.json("buffers", "--sort", order, "--limit", 7)["buffers"]
    assert [buffer["id"] for buffer in first] == [buffer["id"] for buffer in buffers[:7]]


def test_filters(killed):
    def count(*arguments):
        return killed.json("buffers", *arguments)["matching"]

    [process] = killed.json("ps")["processes"]
    live = {account["kind"]: account["live"]["count"] for account in process["accounts"]}
    assert count() == count("--all") == count("--pid", process["pid"]) == sum(live.values())
    assert count("--ledger", process["ledger"]) == sum(live.values())
    assert count("--kind", "dram") == count("--kind", "DRAM") == live["dram"]
    assert count("--kind", "none") == count("--device", 3) == 0
    assert count("--device", 0) == sum(live.values())
    tags = [buffer["tag"] for buffer in killed.json("buffers")["buffers"]]
    assert count("--tag", "layer 1[0-5]") == sum(1 for tag in tags if re.search("layer 1[0-5]", tag)) > 0
    assert count("--tag", "^load / layer 0$") == tags.count("load / layer 0") > 0


def test_devices_are_told_apart(memtally):
    memtally.run("replay", "mesh-n300", "--kill-after", 60)
    on_0 = memtally.json("buffers", "--device", 0)["buffers"]
    on_1 = memtally.json("buffers", "--device", 1)["buffers"]
    assert len(on_0) == len(on_1) > 0 and {buffer["device"] for buffer in on_1} == {1}


def test_screen_of_buffers(leaked):
    lines = leaked.run("buffers", "--limit", 2).stdout.splitlines()
    assert lines[0].split() == ("PID ID ADDRESS DEVICE KIND REQUESTED RESERVED PER BANK AGE THREAD TAG GROUP "
                                "FLAGS").split()
    assert len(lines) == 6 and lines[3] == "... and 548 more; --limit 0 shows all"
    assert lines[5].endswith(" dead 0:wormhole_b0 dram: 550 buffers, 11.9 GiB requested, 11.9 GiB reserved")
    assert len(leaked.run("buffers").stdout.splitlines()) == 54
    assert len(leaked.run("buffers", "--limit", 0).stdout.splitlines()) == 553
    tags = leaked.run("buffers", "--by-tag").stdout.splitlines()
    assert re.search(rf" {LEAK['debug_copies']} +10.8 GiB +10.8 GiB  request / debug copy$", tags[1])


def test_what_is_named_and_not_there(memtally, tmp_path):
    done = memtally.run("buffers", "--pid", 4194305, code=1)
    assert "no process 4194305 has a ledger here" in done.stderr and done.stdout == ""
    assert "nowhere" in memtally.run("buffers", "--ledger", tmp_path / "nowhere", code=1).stderr
    (tmp_path / "text").write_text("this is no ledger" * 1000)
    assert "text" in memtally.run("buffers", "--ledger", tmp_path / "text", code=1).stderr


def test_unreadable_ledgers_are_named(leaked):
    bad = leaked.folder / "memtally-0-1-0123456789abcdef0123456789abcdef.ledger"
    bad.write_bytes(os.urandom(8192))
    done = leaked.run("ps")
    assert "leaky" in done.stdout and bad.name in done.stderr
    [problem] = leaked.json("ps")["problems"]
    assert problem["path"] == str(bad) and problem["code"] == "not_a_ledger"


def test_losses_are_visible(memtally, trace_file):
    tags = "\n".join(f"10 1 > tag {i}\n10 1 <" for i in range(66000))
    memtally.run("replay", trace_file(tags, "20 1 a 0 DRAM 1 0 100 10"))
    assert re.search(r"! not recorded: lost_tags \d+", memtally.run("ps").stdout)


ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m"
HOSTILE = {
    "escapes": ESCAPES,
    "right-to-left": "\u202egnp.exe\u2066",
    "carriage-return": "ok\rPID",
    "tab-and-backslash": "a\tb\\n",
    "wide": "日本語の層",
    "combining": "e" + 50 * "\u0301",
    "invisible": "a\u200bb\ufeffc\u00adc",
    "invalid": b"\xff\xfe\xc0\xaf\xed\xa0\x80",
    "half": "é".encode()[:1],
    "long": 10000 * "x",
    "long-escapes": 3000 * "\x1b[A",
}
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names(memtally, trace_file, text):
    encoded = text if isinstance(text, bytes) else text.encode()
    path = trace_file(b"10 1 > outer", b"20 1 > " + encoded, "30 1 a 0 DRAM 1 0 100 10")
    memtally.run("replay", path, "--kill-after", 1, "--name", os.fsdecode(encoded))
    for arguments in (["ps"], ["buffers"], ["buffers", "--by-tag"]):
        done = memtally.run(*arguments)
        assert not UNSAFE.search(done.stdout + done.stderr), repr(done.stdout)
        assert max(map(len, done.stdout.splitlines())) < 1300  # a pipe: names are whole
        assert done.stdout.count(" dram") >= 1
        validate(memtally.json(*arguments))
    [buffer] = memtally.json("buffers")["buffers"]
    expected = encoded[:115].decode(errors="replace")
    if len(encoded) <= 115 and "�" not in expected:
        assert buffer["tag"] == "outer / " + expected
    else:
        assert buffer["tag"].startswith("outer / ") and len(buffer["tag"].encode()) <= 3 * 115 + 8
    # And in the messages of a check, which names tags that differ.
    memtally.run("replay", path, "--check")


def test_columns_stay_aligned_with_wide_names(memtally, trace_file):
    for name in ("plain", "日本", "e\u0301x"):
        memtally.run("replay", trace_file("30 1 a 0 DRAM 1 0 100 10"), "--kill-after", 1, "--name", name)
    rows = [line for line in memtally.run("ps").stdout.splitlines()
            if " dram " in line and " dead " in line]
    assert len(rows) == 3
    widths = set()
    for row in rows:
        before = row[: row.index("0:wormhole_b0")]
        widths.add(len(before) + sum(1 for c in before if c in "日本") - before.count("\u0301"))
    assert len(widths) == 1
