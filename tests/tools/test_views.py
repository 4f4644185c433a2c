# SPDX-License-Identifier: Apache-2.0
"""devices, leaks, tags, events, snapshot, and what all views share, on ledgers of real processes."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time

import jsonschema
import pytest
from conftest import COMMAND
from document_schemas import FILES, FOLDER, NAMES, validate
from test_ps_buffers import HOSTILE, UNSAFE

PATIENCE = 60
VIEWS = [["ps"], ["ps", "--all"], ["buffers"], ["buffers", "--by", "size"], ["devices"], ["devices", "--all"], ["leaks"],
         ["leaks", "--older-than", "0"], ["tags"], ["tags", "--merge", "--depth", "1"], ["tags", "--kind", "dfb"],
         ["events", "-n", "200"], ["events", "--op", "free,alloc_failed", "-n", "5"], ["snapshot"],
         ["snapshot", "--level", "everything"]]
SCREENS = [view for view in VIEWS if view[0] != "snapshot"]


@contextlib.contextmanager
def held(memtally, *arguments):
    """The pid of a process that has replayed a trace and stays, with what is live."""
    process = memtally.start("replay", *arguments, "--hold")
    try:
        line = ""
        while not line.startswith("holding"):
            assert select.select([process.stdout], [], [], PATIENCE)[0] and process.poll() is None
            line = process.stdout.readline().decode()
        yield int(re.search(r"\d+", line)[0])
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def zoo(memtally):
    """A killed process, a normal exit without a close, closes, and what is alive."""
    memtally.run("replay", "llama-1b-n150", "--kill-after", 20000, "--name", "killed", "--device-id", 7)
    memtally.run("replay", "leak-until-oom-n150", "--name", "leaky", "--device-id", 8)
    memtally.run("replay", "resnet50-n150", "--name", "closer", "--device-id", 9)
    with held(memtally, "leak-until-oom-n150", "--name", "alive", "--device-id", 10) as pid:
        memtally.alive = pid
        yield memtally


@pytest.fixture
def small(memtally, trace_file):
    """The same kinds of processes with few buffers and events, so that whole documents are checked quickly."""
    memtally.run("replay", "mesh-n300", "--kill-after", 300, "--name", "killed", "--device-id", 7)
    path = trace_file("10 1 > outer", "11 1 > inner", *(f"{20 + i} 1 a 0 DRAM {i} {64 * i} 100 10" for i in range(9)),
                      "40 1 f 0 DRAM 3", "50 1 <", "51 1 a 0 L1 77 0 640 10", "60 1 f 0 DRAM 12345")
    memtally.run("replay", path, "--name", "leaky", "--device-id", 8)
    memtally.run("replay", "mesh-n300", "--name", "closer", "--device-id", 9)
    with held(memtally, path, "--name", "alive", "--device-id", 10) as pid:
        memtally.alive = pid
        yield memtally


# ---- what all views share ----


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_schemas_and_documented(name):
    schema = FILES[f"{name}.schema.json"]
    jsonschema.Draft202012Validator.check_schema(schema)
    page = (FOLDER / "json.md").read_text()
    assert f"`{name}`" in page
    words = set(re.findall(r"\w+", page)) | set(re.findall(r"\w+", (FOLDER.parent / "tracking.md").read_text()))

    def fields(part):
        if isinstance(part, dict):
            yield from part.get("properties", {})
            for value in part.values():
                yield from fields(value)
        elif isinstance(part, list):
            for value in part:
                yield from fields(value)
    assert not set(fields([schema, FILES["memtally.definitions.schema.json"]])) - words - {"tracker_version"}


def test_every_view_follows_its_schema(small):
    (small.folder / "memtally-0-1-00000000000000000000000000000000.ledger").write_bytes(b"no ledger")
    for arguments in VIEWS:
        document = validate(small.json(*arguments))
        assert len(document["problems"]) == 1 and document["host"]["name"] == os.uname().nodename
        compact = small.start(*arguments, "--json", "--watch", "0.05")
        lines = [compact.stdout.readline() for _ in range(2)]
        compact.stdout.close()
        assert compact.wait(PATIENCE) == 0, arguments
        assert compact.stderr.read().count(b"\n") == 1, "a problem that stays is told once"
        for line in lines:
            assert validate(json.loads(line))["schema"] == document["schema"]


def test_nothing_to_show(memtally):
    for arguments in VIEWS:
        document = validate(memtally.json(*arguments))
        assert document["problems"] == []
    texts = {"devices": "No process has reported a device.\n", "leaks": "No leaks.\n", "tags": "No live buffers.\n",
             "events": "No events.\n"}
    for name, text in texts.items():
        assert memtally.run(name).stdout == text


@pytest.mark.parametrize("command", ["ps", "buffers", "leaks", "tags", "events", "snapshot"])
def test_a_process_that_is_not_there(small, command):
    for how in ([], ["--json"]):
        done = small.run(command, "--pid", 4194305, *how, code=1)
        assert "no process 4194305 has a ledger here" in done.stderr
    if command != "ps":
        done = small.run(command, "--ledger", "/nowhere/x.ledger", code=1)
        assert "/nowhere/x.ledger" in done.stderr and done.stderr.count("\n") == 1


def test_only_what_was_named(small):
    ledger = next(one["ledger"] for one in small.json("snapshot")["processes"] if one["command"] == "leaky")
    for command in ("buffers", "leaks", "tags", "events", "snapshot"):
        for how in (["--pid", small.alive], ["--ledger", ledger], ["--user", str(os.getuid()), "--state", "alive"]):
            if command == "snapshot" and how[0] == "--user":
                continue
            document = validate(small.json(command, *how))
            expected = ["leaky"] if how[0] == "--ledger" else ["alive"]
            if command == "leaks" and how[0] != "--ledger":
                expected = []  # nothing of it can be a leak
            assert [one["command"] for one in document["processes"]] == expected, (command, how)


@pytest.mark.skipif(os.getuid() != 0, reason="root makes a file that somebody else cannot read")
def test_ledgers_without_permission(small):
    ledger = next(one["ledger"] for one in small.json("snapshot")["processes"] if one["command"] == "leaky")
    os.chmod(ledger, 0)
    os.chmod(small.folder, 0o755)

    def become_nobody():
        os.setgid(65534)
        os.setuid(65534)
    probe = subprocess.run([COMMAND, "--version"], preexec_fn=become_nobody, capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("nobody else may run what was built here")
    for arguments in (["ps", "--no-clean-up"], ["leaks"], ["devices"]):
        done = subprocess.run([COMMAND, *arguments], preexec_fn=become_nobody, capture_output=True, text=True,
                              env=small.environment, check=False)
        assert done.returncode == 0 and "ermission" in done.stderr and ledger in done.stderr
        assert "leaky" not in done.stdout
        assert arguments[0] == "devices" or "killed" in done.stdout


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names(memtally, trace_file, text):
    encoded = text if isinstance(text, bytes) else text.encode()
    path = trace_file(b"10 1 > outer", b"20 1 > " + encoded, "30 1 a 0 DRAM 1 0 100 10", "50 1 a 0 DRAM 2 64 200 20")
    memtally.run("replay", path, "--kill-after", 2, "--name", os.fsdecode(encoded))
    for arguments in SCREENS:
        for color in ("never", "always"):
            done = memtally.run(*arguments, "--color", color)
            plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout) if color == "always" else done.stdout
            assert not UNSAFE.search(plain + done.stderr), (arguments, plain)
    for arguments in VIEWS:
        validate(memtally.json(*arguments))


@pytest.mark.parametrize("arguments", VIEWS, ids=" ".join)
def test_closed_pipes_and_full_disks(small, arguments):
    for ignored in (False, True):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([COMMAND, *arguments], stdout=writer, stderr=subprocess.PIPE, env=small.environment,
                              restore_signals=not ignored, check=False)
        os.close(writer)
        assert done.stderr == b"" and done.returncode == (1 if ignored else -13)
    for watch in ([], ["--watch", "0.05"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([COMMAND, *arguments, *watch], stdout=full, stderr=subprocess.PIPE,
                                  env=small.environment, timeout=PATIENCE, check=False)
        assert done.returncode == 1 and b"cannot write the result: No space left on device" in done.stderr


@pytest.mark.parametrize("arguments", [["ps"], ["tags", "--json"], ["events", "--follow"], ["events", "--follow", "--json"]],
                         ids=" ".join)
@pytest.mark.parametrize("how", ["INT", "TERM", "pipe"])
def test_watches_end_cleanly(small, arguments, how):
    watch = [] if "--follow" in arguments else ["--watch", "3600"]
    process = small.start(*arguments, *watch)
    assert process.stdout.readline() != b""
    if how == "pipe":
        process.stdout.close()
    else:
        process.send_signal(getattr(signal, f"SIG{how}"))
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == b""


def test_watch_separates_frames(small):
    process = small.start("ps", "--watch", "0.05")
    lines = []
    while lines.count("---\n") < 2:
        lines.append(process.stdout.readline().decode())
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert lines[0].split()[0] == "PID" and lines[lines.index("---\n") + 1].split()[0] == "PID"


# ---- snapshot ----


def test_snapshot_adds_up(small):
    document = validate(small.json("snapshot", "--level", "everything"))
    assert document["level"] == "everything"
    assert [one["command"] for one in document["processes"]][0] == "alive"
    for process in document["processes"]:
        assert process["source"] == "ledger"
        for account in process["accounts"]:
            buffers = [one for one in process["buffers"]
                       if one["account"] == account["index"] and not one["imported"] and not one["released"]]
            assert len(buffers) == account["live"]["count"]
            assert sum(one["bytes_reserved"] for one in buffers) == account["live"]["bytes_reserved"]
        assert all(one["tag_index"] < len(process["tags"]) for one in process["buffers"])
        assert [one["number"] for one in process["events"] if one["lane"] == 0] == sorted(
            one["number"] for one in process["events"] if one["lane"] == 0)
    held_by_alive = document["processes"][0]["held_on_devices"]
    [device] = [one for one in document["devices"] if one["processes"] == 1]
    assert [device["memories"][i]["held"]["count"] for i in (0, 1)] == [8, 1] and held_by_alive["count"] == 9
    one = validate(small.json("snapshot", "--pid", small.alive))
    assert one["level"] == "process" and len(one["processes"]) == 1 and len(one["processes"][0]["buffers"]) == 9
    totals = validate(small.json("snapshot"))
    assert totals["level"] == "totals" and all("buffers" not in process for process in totals["processes"])


# ---- devices ----


def test_devices(zoo):
    document = validate(zoo.json("devices"))
    by_id = {int.from_bytes(bytes.fromhex(one["id"]), "little"): one for one in document["devices"]}
    assert sorted(by_id) == [7, 8, 9, 10]
    dram = {number: one["memories"][0] for number, one in by_id.items()}
    assert dram[10]["held"]["count"] == 550 and dram[8]["held"]["count"] == 0 and dram[8]["left"]["count"] == 550
    [holder] = document["holders"]
    assert (holder["pid"], holder["command"], holder["held"]) == (zoo.alive, "alive", dram[10]["held"])
    assert holder["device"] == by_id[10]["index"] and document["overfull"] == []
    screen = zoo.run("devices").stdout
    assert re.search(r"^0:wormhole_b0#a +dram .* 99\.3 .* alive \(\d+\) 11\.9 GiB +dram 11\.9 GiB$", screen, re.MULTILINE)
    assert "! 1 failed allocation of dram" in screen
    assert "no process calls a device 5" in zoo.run("devices", "--device", 5, code=1).stderr


def test_more_than_there_is(memtally, trace_file):
    capacity = 12288
    path = trace_file("30 1 a 0 DRAM 1 0 9000 900")
    with held(memtally, path, "--name", "one", "--device-id", 3):
        with held(memtally, path, "--name", "two", "--device-id", 3):
            document = validate(memtally.json("devices"))
            [device] = document["devices"]
            assert device["memories"][0]["held"]["bytes_reserved"] == 2 * 900 * 12 > capacity
            [overfull] = document["overfull"]
            assert overfull["memory"] == "dram" and "2 processes hold it together" in overfull["cause"]
            screen = memtally.run("devices").stdout
            assert " 175.8 " in screen and "! more than there is: 2 processes hold it together" in screen
            assert " 175.8 " in memtally.run("ps").stdout
    path = trace_file("30 1 a 0 DRAM 1 0 9000 1100")
    with held(memtally, path, "--name", "greedy", "--device-id", 4):
        document = validate(memtally.json("devices"))
        assert "greedy" in document["overfull"][0]["cause"] and "alone" in document["overfull"][0]["cause"]


# ---- leaks ----


def test_leaks_are_told_apart(zoo):
    document = validate(zoo.json("leaks"))
    assert document["leaked"] is True
    processes = {one["command"]: one for one in zoo.json("ps", "--all")["processes"]}

    def live(name):
        return sum(account["live"]["count"] for account in processes[name]["accounts"])

    assert {holder["command"] for row in document["killed"]["rows"] for holder in row["holders"]} == {"killed"}
    assert document["killed"]["sum"]["count"] == live("killed") > 0
    assert document["killed"]["sum"]["bytes_reserved"] == processes["killed"]["held_on_devices"]["bytes_reserved"]
    assert {holder["command"] for row in document["exited"]["rows"] for holder in row["holders"]} == {"leaky"}
    assert document["exited"]["sum"]["count"] == live("leaky") == 550
    copies = document["exited"]["rows"][0]
    assert (copies["tag"], copies["kind"], copies["amount"]["count"]) == ("request / debug copy", "dram", 462)
    assert copies["oldest_ns"] > copies["newest_ns"] > 0
    closed = sum(account["released"]["count"] for account in processes.get("closer", {"accounts": []})["accounts"])
    assert document["released"]["sum"]["count"] == closed
    assert document["suspects"]["rows"] == []
    screen = zoo.run("leaks").stdout
    assert "Held when they were killed or crashed: " in screen
    assert "Left at a normal exit, without closing the device: 550 buffers, 11.9 GiB" in screen


def test_what_a_close_released(memtally):
    with held(memtally, "mesh-n300", "--name", "mesh"):
        document = validate(memtally.json("leaks"))
        assert not document["leaked"] and document["released"]["sum"]["count"] > 0
        [process] = memtally.json("ps", "--all")["processes"]
        assert document["released"]["sum"]["count"] == sum(one["released"]["count"] for one in process["accounts"])
        assert "Released by closing the device (not lost)" in memtally.run("leaks", "--fail").stdout


def test_suspects(zoo):
    document = validate(zoo.json("leaks", "--older-than", "0", "--pid", zoo.alive))
    assert document["suspects"]["sum"]["count"] == 550 and document["older_than_ns"] == 0
    assert not document["leaked"]
    assert validate(zoo.json("leaks", "--older-than", "1000d"))["suspects"]["rows"] == []
    screen = zoo.run("leaks", "--older-than", "0s", "--state", "alive", "--fail").stdout
    assert screen.startswith("Alive and held for more than 0s (suspects): 550 buffers, 11.9 GiB\n")


def test_fail_and_suppressions(zoo, tmp_path):
    known = tmp_path / "known"
    known.write_text("# known\nrequest / debug*\nnothing like it\n")
    assert "debug copy" in zoo.run("leaks", "--fail", code=3).stdout
    document = validate(zoo.json("leaks", "--suppressions", known))
    row = document["exited"]["rows"][0]
    assert row["suppressed_by"] == 2 and document["exited"]["sum"]["count"] == 550 - 462
    assert [(one["line"], one["count"]) for one in document["suppressions"]] == [(2, 462), (3, 0)]
    screen = zoo.run("leaks", "--suppressions", known, "--fail", code=3).stdout
    assert "debug copy" not in screen
    assert "suppressed: 462 buffers, 10.8 GiB\nunused suppression in line 3: nothing like it\n" in screen
    known.write_text("*\n-\n")
    for how in (["--suppressions", known], []):
        done = zoo.run("leaks", "--fail", *how, MEMTALLY_LEAK_SUPPRESSIONS=str(known))
        assert "Held when" not in done.stdout and "Left at" not in done.stdout and "suppressed: " in done.stdout
    leaky = document["exited"]["rows"][0]["holders"][0]["pid"]
    done = zoo.run("leaks", "--pid", leaky, "--suppressions", known)
    assert done.stdout.startswith("No leaks but suppressed ones.\n")
    known.write_text("layer [0\n")
    assert f"{known}:1: '[' without ']'" in zoo.run("leaks", "--suppressions", known, code=1).stderr
    assert "/nowhere/known" in zoo.run("leaks", MEMTALLY_LEAK_SUPPRESSIONS="/nowhere/known", code=1).stderr


# ---- tags ----


def tree_rows(node, depth=0):
    for child in node["children"]:
        yield depth, child
        yield from tree_rows(child, depth + 1)


def test_tags_add_up(zoo):
    document = validate(zoo.json("tags"))
    names = [document["processes"][tree["process"]]["command"] for tree in document["trees"]]
    for name, tree in zip(names, document["trees"]):
        process = document["processes"][names.index(name)]
        assert tree["root"]["total"] == process["held_on_devices"]
        for _, node in [(0, tree["root"]), *tree_rows(tree["root"])]:
            below = sum(child["total"]["bytes_reserved"] for child in node["children"])
            assert node["total"]["bytes_reserved"] == node["own"]["bytes_reserved"] + below
            sizes = [child["total"]["bytes_reserved"] for child in node["children"]]
            assert sizes == sorted(sizes, reverse=True)
    leaky = document["trees"][names.index("leaky")]["root"]
    assert [child["name"] for child in leaky["children"]] == ["request", "load"]
    assert leaky["children"][0]["children"][0]["name"] == "debug copy"
    merged = validate(zoo.json("tags", "--merge"))["trees"]
    assert len(merged) == 1 and merged[0]["process"] is None
    total = sum(tree["root"]["total"]["bytes_reserved"] for tree in document["trees"])
    assert merged[0]["root"]["total"]["bytes_reserved"] == total


def test_tags_on_a_screen(zoo):
    screen = zoo.run("tags", "--pid", zoo.alive, "--bars").stdout.splitlines()
    assert screen[0] == f"{zoo.alive} alive alive: 11.9 GiB in 550 buffers"
    assert screen[1].split() == ["RESERVED", "%", "ITSELF", "REQUESTED", "BUFFERS", "SHARE", "TAG"]
    assert re.fullmatch(r"10\.8 GiB +91\.1 +- +10\.8 GiB +486 +#{18} +request", screen[2])
    assert re.fullmatch(r"10\.8 GiB +90\.8 +10\.8 GiB +10\.8 GiB +462 +#{18} {4}debug copy", screen[3])
    folded = zoo.run("tags", "--pid", zoo.alive, "--depth", 1, "--sort", "name").stdout.splitlines()
    assert [line.rsplit("  ", 1)[1] for line in folded[2:]] == ["load", "request (+2)"]
    document = zoo.json("tags", "--pid", zoo.alive, "--depth", 1)
    assert document["trees"][0]["root"]["children"][0]["folded"] == 2
    assert "left out: " in zoo.run("tags").stdout and "--kind dfb shows them" in zoo.run("tags").stdout


# ---- events ----


def test_events_of_the_dead(zoo):
    document = zoo.json("events", "--state", "dead")
    times = [event["time_ns"] for event in document["events"]]
    assert times == sorted(times) and document["matching"] == len(times) > 1000
    [process] = [one for one in document["processes"] if one["command"] == "leaky"]
    last = zoo.json("events", "--pid", process["pid"], "--op", "alloc_failed")["events"]
    assert [event["bytes_requested"] for event in last] == [33554432]
    assert last[0]["realtime_ns"] == process["created_realtime_ns"] + last[0]["time_ns"] - process["start_time_ns"]
    some = validate(zoo.json("events", "--pid", process["pid"], "--op", "alloc,free", "--tag", "debug copy", "-n", 3))
    assert some["matching"] > 3 and len(some["events"]) == 3
    assert all(event["tag"] == "request / debug copy" and event["kind"] == "dram" for event in some["events"])
    lines = zoo.run("events", "--pid", process["pid"], "-n", 2).stdout.splitlines()
    assert re.fullmatch(r"\.\.\. after \d+ earlier; --limit 0 shows all that are kept", lines[0])
    assert lines[1].split() == ("TIME PID OPERATION DEVICE KIND ID ADDRESS REQUESTED RESERVED THREAD TAG").split()
    assert len(lines) == 4 and re.match(r" *(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{6} ", lines[3])


def test_follow_sees_every_event_once(memtally):
    """The recorder of a slow process is read as it goes: nothing twice, nothing left out."""
    replay = memtally.start("replay", "leak-until-oom-n150", "--speed", 1, "--name", "slow", "--hold")
    try:
        wait_until(lambda: memtally.json("ps")["processes"], "it begins")
        pid = memtally.json("ps")["processes"][0]["pid"]
        follow = memtally.start("events", "--follow", "--json", "--limit", 0, "--pid", pid)
        numbers = []
        events = []
        while len(events) < 500:
            event = validate(json.loads(follow.stdout.readline()))
            events.append(event)
            numbers.append(event["number"])
        assert len({event["run_id"] for event in events}) == 1
        assert sorted(set(numbers)) == sorted(numbers)
        assert all(b - a == 1 + e["missed"] or e["missed"] == 0 for a, b, e in zip(numbers, numbers[1:], events[1:]))
        os.kill(pid, signal.SIGKILL)
        rest = follow.stdout.read().splitlines()
        assert follow.wait(PATIENCE) == 0, "it ends with the process that was named"
        numbers += [json.loads(line)["number"] for line in rest]
        kept = memtally.json("events", "--pid", pid)["events"]
        assert numbers[-1] == kept[-1]["number"]
    finally:
        replay.terminate()
        replay.communicate(timeout=PATIENCE)
