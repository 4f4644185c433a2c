# SPDX-License-Identifier: Apache-2.0
"""memtally replay: every recording and every generated trace, checked to the byte, alone, with threads, with processes, killed."""

import os
import re
import signal
import subprocess
import time

import pytest
from conftest import RECORDINGS

# Recording -> events (allocations, frees, failed allocations, closes) and views.
EXPECTED = {
    "llama-1b-n150": (30244, 3),
    "llama-1b-p150": (8328, 3),
    "resnet50-n150": (1377, 2),
    "mesh-n300": (678, 2),
    "four-threads-n150": (4001, 1),
    "leak-until-oom-n150": (30079, 38),
    "l1-clash-n150": (192, 1),
}
GENERATED = ["churn", "cross-thread-frees", "double-allocations", "failures"]


def check_summary(text, processes, events=None, views=None):
    found = re.findall(r": (\d+) events in [\d.]+ s, (\d+) views checked, 0 differences", text)
    assert len(found) == processes, text
    for line in found:
        if events is not None:
            assert line == (str(events), str(views))


def test_every_recording_is_tested():
    assert {path.name.removesuffix(".trace.zst") for path in RECORDINGS.glob("*.zst")} == set(EXPECTED)


@pytest.mark.parametrize("mode", [[], ["--threads"], ["--processes", "3"], ["--threads", "--processes", "2"]],
                         ids=["alone", "threads", "processes", "threads-and-processes"])
@pytest.mark.parametrize("recording", EXPECTED)
def test_recording_agrees_with_the_allocator(memtally, recording, mode):
    done = memtally.run("replay", recording, "--check", *mode)
    processes = int(mode[-1]) if "--processes" in mode else 1
    check_summary(done.stdout, processes, *EXPECTED[recording])
    assert done.stderr == ""


@pytest.mark.parametrize("mode", [[], ["--threads"]], ids=["alone", "threads"])
@pytest.mark.parametrize("kind", GENERATED)
def test_generated_trace_agrees_with_its_model(memtally, tmp_path, kind, mode):
    path = tmp_path / f"{kind}.trace.zst"
    memtally.run("replay", "--generate", kind, "--events", 20000, "--threads", 6, "--seed", 3, "-o", path)
    check_summary(memtally.run("replay", path, "--check", *mode).stdout, 1)


@pytest.mark.parametrize("kind", GENERATED)
def test_same_options_generate_the_same_trace(memtally, tmp_path, kind):
    arguments = ["replay", "--generate", kind, "--events", 500, "-o"]
    first = memtally.run(*arguments, "-").stdout
    memtally.run(*arguments, tmp_path / "again.trace")
    assert first == (tmp_path / "again.trace").read_text()
    assert first != memtally.run(*arguments, "-", "--seed", 2).stdout
    assert first.startswith("memtally-trace 1\n")
    assert 500 <= len(re.findall(r"^\d+ \d+ [afxc] ", first, re.M)) <= 520


def test_generated_traces_have_what_they_are_named_for(memtally):
    def generate(kind):
        return memtally.run("replay", "--generate", kind, "--events", 3000, "-o", "-").stdout

    assert int(re.findall(r"anomaly failed_allocation (\d+)", generate("failures"))[-1]) > 100
    double = generate("double-allocations")
    assert int(re.findall(r"anomaly replaced (\d+)", double)[-1]) > 50
    assert int(re.findall(r"anomaly unknown_free (\d+)", double)[-1]) > 50
    assert int(re.findall(r"anomaly after_close (\d+)", generate("churn"))[-1]) == 10
    owner, elsewhere = {}, 0
    for _, thread, operation, *rest in (line.split() for line in generate("cross-thread-frees").splitlines()
                                        if re.match(r"\d+ \d+ [af] ", line)):
        if operation == "a":
            owner[tuple(rest[1:3])] = thread
        else:
            elsewhere += owner[tuple(rest[1:3])] != thread
    assert elsewhere > 1000


@pytest.mark.parametrize("events", [1, 2, 777, 30079])
def test_killed_after_some_events(memtally, events):
    done = memtally.run("replay", "leak-until-oom-n150", "--kill-after", events)
    assert f"{events} events, then killed, 0 differences" in done.stdout
    assert len(memtally.ledgers()) == 1


def test_killed_with_threads_and_processes(memtally):
    done = memtally.run("replay", "four-threads-n150", "--threads", "--processes", 3, "--kill-after", 1234)
    assert done.stdout.count("1234 events, then killed, 0 differences") == 3


def test_too_few_events_to_be_killed(memtally):
    done = memtally.run("replay", "mesh-n300", "--kill-after", 100000, code=1)
    assert "ended before it had so many events" in done.stderr


@pytest.mark.parametrize("recording, mode", [("leak-until-oom-n150", []), ("four-threads-n150", ["--threads"]),
                                             ("resnet50-n150", [])])
def test_killed_at_random(memtally, recording, mode):
    done = memtally.run("replay", recording, "--random-kill", 7, "--repeat", 20, *mode)
    assert "killed 20 times at random instants, 0 differences" in done.stdout
    assert memtally.ledgers() == []


def test_wrong_claims_are_found(memtally, trace_file):
    path = trace_file("10 1 a 0 DRAM 7 4096 1000 100", "view short DRAM 99 12", "view banks DRAM 100 11",
                      "20 1 f 0 DRAM 8", "anomaly unknown_free 2", "anomaly replaced 0")
    done = memtally.run("replay", path, "--check", code=3)
    assert "after line 7: view short, chip 0 dram: sum of live bytes a bank is 100, expected 99" in done.stderr
    assert "after line 7: view banks, chip 0 dram: banks is 12, expected 11" in done.stderr
    assert "after line 10: anomaly unknown_free: count is 1, expected 2" in done.stderr
    assert "anomaly replaced" not in done.stderr
    assert "2 views checked, 5 differences" in done.stdout
    # Nobody asked.
    memtally.run("replay", path)


def test_a_view_of_an_unknown_kind_is_a_difference(memtally, trace_file):
    done = memtally.run("replay", trace_file("view v TRACE 0 12"), "--check", code=3)
    assert "chip 0 trace: the ledger has no such device and kind" in done.stderr


def test_devices_opened_again(memtally, trace_file):
    path = trace_file(
        "10 1 a 0 DRAM 1 0 1000 100", "20 1 a 0 L1 1 0 640 10", "view both DRAM 100 12 L1 10 64", "30 1 c 0",
        "view closed DRAM 0 12 L1 0 64", "device 0 tenstorrent wormhole_b0 0", "view opened DRAM 0 12 L1 0 64",
        "40 1 a 0 DRAM 1 0 500 50", "view again DRAM 50 12", "50 1 f 0 L1 1", "anomaly unknown_free 1",
        "anomaly replaced 0", "60 1 f 0 DRAM 1", "view end DRAM 0 12 L1 0 64")
    check_summary(memtally.run("replay", path, "--check").stdout, 1, 6, 5)


def test_kinds_of_the_program_and_without_a_line(memtally, trace_file):
    path = trace_file("10 1 a 0 SCRATCH_PAD 1 0 1000 100", "20 1 a 0 CB 1 0 640 10", "30 1 a 0 kernel 1 0 64 1",
                      "40 1 a 0 TRACE 1 0 12 1", "view v SCRATCH_PAD 100 1 CB 10 64 KERNEL 1 64 TRACE 1 12",
                      name="kinds.trace")
    check_summary(memtally.run("replay", path, "--check").stdout, 1, 4, 1)
    accounts = {account["kind"]: account for account in memtally.json("ps", "--all")["processes"][0]["accounts"]}
    assert accounts["scratch_pad"]["banks"] == 1 and accounts["scratch_pad"]["memory"] == "scratch_pad"
    assert accounts["cb"]["banks"] == 64 and accounts["cb"]["overlaps"] and accounts["cb"]["memory"] == "l1"
    assert accounts["trace"]["banks"] == 12


@pytest.mark.parametrize("compressed", [False, True])
def test_standard_input(memtally, compressed):
    data = (RECORDINGS / "mesh-n300.trace.zst").read_bytes()
    if not compressed:
        data = subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout \
            if has_zstd() else memtally.run("replay", "--generate", "churn", "-o", "-").stdout.encode()
    done = memtally.run("replay", "-", "--check", input=data)
    assert "standard input in process" in done.stdout
    assert "0 differences" in done.stdout


def has_zstd():
    try:
        subprocess.run(["zstd", "--version"], capture_output=True, check=True)
    except OSError:
        return False
    return True


def test_speed(memtally):
    def seconds(speed):
        done = memtally.run("replay", "mesh-n300", "--speed", speed)
        return float(re.search(r"in ([\d.]+) s", done.stdout)[1])

    assert seconds("max") < 0.3
    assert 0.43 <= seconds("recorded") < 1.5
    assert 0.86 <= seconds("0.5") < 2


@pytest.mark.parametrize("line", ["10 1 a 0 DRAM 1 0 100 10", "10 1 f 0 DRAM 1", "10 1 x 0 DRAM 100 10", "10 1 c 0",
                                  "10 1 > tag", "view v DRAM 0 12", "device 0 tenstorrent wormhole_b0 0"])
def test_a_trace_of_one_line(memtally, trace_file, line):
    assert "0 differences" in memtally.run("replay", trace_file(line), "--check").stdout


def test_names_of_recordings_and_folders(memtally, trace_file):
    path = trace_file("10 1 a 0 DRAM 1 0 100 10", name="mine.trace")
    memtally.run("replay", "mine", MEMTALLY_TRACES=f"/nowhere:{path.parent}")
    memtally.run("replay", "mine.trace", MEMTALLY_TRACES=str(path.parent))
    done = memtally.run("replay", "mine", code=1)
    assert "no such file, and no such recording among" in done.stderr and "llama-1b-n150" in done.stderr


def test_tracking_turned_off(memtally):
    done = memtally.run("replay", "mesh-n300", "--check", code=1, MEMTALLY="0")
    assert "nothing was tracked" in done.stderr


def test_keep_going(memtally, trace_file):
    path = trace_file("10 1 a 0 DRAM 1 0 100 10", "what is this", "20 1 a 0 DRAM x 0 100 10", "30 1 f 0 DRAM 1",
                      "view end DRAM 0 12")
    done = memtally.run("replay", path, "--check", "--keep-going", code=1)
    assert f"{path}:6: expected" in done.stderr and f"{path}:7: expected" in done.stderr
    assert "2 events" in done.stdout and "1 views checked, 0 differences" in done.stdout
    done = memtally.run("replay", path, "--check", code=1)
    assert f"{path}:6: expected" in done.stderr and ":7:" not in done.stderr and done.stdout == ""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_hold_until_told(memtally, end):
    replay = memtally.start("replay", "leak-until-oom-n150", "--hold", "--name", "holder", "--device-id", "17")
    try:
        line = replay.stdout.readline().decode()
        pid = int(re.search(r"in processes (\d+);", line)[1])
        process = memtally.json("ps")["processes"][0]
        assert (process["pid"], process["state"], process["command"]) == (pid, "alive", "holder")
        assert process["devices"][0]["id"] == "11" + 30 * "0" and process["devices"][0]["id_scheme"] == "chip"
        replay.send_signal(end)
        output, errors = replay.communicate(timeout=30)
        assert replay.returncode == 0 and errors == b"" and b"30079 events" in output
        process = memtally.json("ps")["processes"][0]
        assert process["state"] == "dead" and process["exited_normally"]
    finally:
        replay.kill()
        replay.wait()


def test_loop_begins_again_until_told(memtally):
    replay = memtally.start("replay", "mesh-n300", "--loop", "--device-id", "17", "--device-index", "4")
    try:
        devices = []
        deadline = time.monotonic() + 60
        while len(devices) < 2 or min(device["closes"] for device in devices) < 3:
            assert time.monotonic() < deadline and replay.poll() is None
            processes = memtally.json("ps")["processes"]
            devices = processes[0]["devices"] if processes else []
            time.sleep(0.02)
        # The same two devices each time.
        assert [device["local_index"] for device in devices] == [4, 5]
        assert [device["id"][:2] for device in devices] == ["11", "12"]
        replay.send_signal(signal.SIGTERM)
        assert replay.wait(timeout=30) == -signal.SIGTERM
    finally:
        replay.kill()
        replay.communicate()


def test_a_stopped_replay_goes_on_where_it_was(memtally, trace_file):
    # Three seconds, in steps of a tenth; stopped for one more.
    path = trace_file(*(f"{i * 100_000_000} 1 a 0 DRAM {i} {i * 4096} 1000 100" for i in range(1, 31)))
    replay = memtally.start("replay", path, "--speed", "recorded", "--name", "stopped")
    try:
        deadline = time.monotonic() + 60
        while not (processes := memtally.json("ps")["processes"]):
            assert time.monotonic() < deadline
        os.kill(processes[0]["pid"], signal.SIGSTOP)
        time.sleep(1)
        os.kill(processes[0]["pid"], signal.SIGCONT)
        output, errors = replay.communicate(timeout=60)
        assert errors == b"" and float(re.search(rb"30 events in ([0-9.]+) s", output)[1]) > 3.6
    finally:
        replay.kill()
        replay.wait()


def test_children_end_with_their_parent(memtally):
    replay = memtally.start("replay", "leak-until-oom-n150", "--speed", "0.001", "--name", "slow")
    try:
        while not memtally.json("ps")["processes"]:
            time.sleep(0.02)
    finally:
        replay.kill()
        replay.wait()
    for _ in range(200):
        states = {process["state"] for process in memtally.json("ps", "--all")["processes"]}
        if states <= {"dead"}:
            return
        time.sleep(0.05)
    pytest.fail(f"still there: {states}")
