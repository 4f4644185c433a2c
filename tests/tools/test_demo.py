# SPDX-License-Identifier: Apache-2.0
"""memtally demo: what it says is so, and it leaves nothing behind, however it ends."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from conftest import COMMAND

LEAK = "leak-until-oom-n150"
PATIENCE = 60


def screen_bytes(size):
    units = ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.1f} {units[0]}"


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def descendants(pid):
    """Pids of all processes below one, found by their parents."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                    children.setdefault(int(stat.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
            except OSError:
                pass
    found, waiting = set(), [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture(scope="module")
def facts():
    """What an own replay of the chat server's recording leaves: the demonstration has to say the same."""
    import tempfile
    with tempfile.TemporaryDirectory(prefix="memtally-test.", dir="/dev/shm") as folder:
        environment = {**os.environ, "MEMTALLY_DIR": folder}
        subprocess.run([COMMAND, "replay", LEAK], env=environment, check=True, capture_output=True)
        done = subprocess.run([COMMAND, "buffers", "--all", "--json"], env=environment, check=True, capture_output=True)
        ledgers = subprocess.run([COMMAND, "ps", "--json"], env=environment, check=True, capture_output=True)
    buffers = json.loads(done.stdout)["buffers"]
    [process] = json.loads(ledgers.stdout)["processes"]
    leak = [buffer for buffer in buffers if "debug copy" in buffer["tag"]]
    return {
        "all": (len(buffers), sum(buffer["bytes_reserved"] for buffer in buffers)),
        "leak": (len(leak), sum(buffer["bytes_reserved"] for buffer in leak)),
        "failed": process["anomalies"]["failed_allocation"]["bytes_requested"],
    }


def amount(count_and_bytes):
    count, size = count_and_bytes
    return f"{count} buffers, {screen_bytes(size)}"


def test_what_it_says_is_so(memtally, facts):
    done = memtally.run("demo", "--seconds", "4")
    assert done.stderr == ""
    text = done.stdout.replace("\n", " ")
    # In the recording's own words: the last allocation asks for this much.
    assert facts["failed"] == 33_554_432 and facts["all"][0] == 550
    for said in (f"It died holding {amount(facts['all'])};",
                 f"The debug copies are the leak: {amount(facts['leak'])} of {screen_bytes(facts['all'][1])}.",
                 # share/traces/README.md: what is free in each of 12 banks, the largest block, and what was asked for.
                 f"The chat server asked for {screen_bytes(facts['failed'])} more and did not get them, although "
                 f"{screen_bytes(12 * 7_022_528)} are free.",
                 f"The largest free block of a bank has {screen_bytes(2_551_744)}, and {screen_bytes(2_797_568)} were "
                 "needed: free memory in pieces. Without the debug copies that block would have"):
        assert said in text, done.stdout
    assert "memtally run -- COMMAND" in done.stdout and "memtally top" in done.stdout
    assert "\x1b" not in done.stdout
    titles = re.findall(r"^== (\d+) of (\d+): .+$", done.stdout, re.MULTILINE)
    assert titles == [(str(i + 1), str(len(titles))) for i in range(len(titles))] and len(titles) >= 8
    captions = re.findall(r"^== .+\n\n((?:.+\n)+)", done.stdout, re.MULTILINE)
    assert len(captions) == len(titles) and max(len(line) for text in captions for line in text.splitlines()) <= 100
    # Every frame is what the command itself printed.
    commands = re.findall(r"^\$ memtally (.+)$", done.stdout, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["ps", "ps", "buffers", "ps", "oom", "ps", "buffers",
                                                               "buffers"]
    for state, command in (("alive", "llama"), ("alive", "resnet"), ("alive", "chat-server"), ("dead", "chat-server")):
        assert re.search(rf"{state} +{command} ", done.stdout), done.stdout
    assert re.search(r"died holding 550 buffers", done.stdout)
    assert os.listdir(memtally.folder) == []


def test_it_shows_and_touches_nothing_else_whatever_the_settings(memtally):
    other = memtally.start("replay", LEAK, "--hold", "--name", "somebody")
    try:
        other.stdout.readline()
        before = memtally.ledgers()
        assert len(before) == 1
        done = memtally.run("demo", "--plain", "--seconds", "3", MEMTALLY="0", TT_ALLOC_TRACKING_ENABLED="0")
        assert "somebody" not in done.stdout and "The debug copies are the leak" in done.stdout
        assert memtally.ledgers() == before and is_running(other.pid)
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("moment, end", [
    (b"", signal.SIGINT), (b"", signal.SIGTERM), (b"", signal.SIGKILL), (b"== 1", signal.SIGHUP),
    (b"alive", signal.SIGINT), (b"alive", signal.SIGKILL), (b"== 5", signal.SIGINT), (b"== 8", signal.SIGTERM)])
def test_interrupted_it_leaves_nothing(memtally, moment, end):
    demo = memtally.start("demo", "--plain", "--seconds", "12" if moment < b"== 5" else "3")
    try:
        if moment:
            while moment not in demo.stdout.readline():
                assert demo.poll() is None
        else:
            wait_until(lambda: descendants(demo.pid), "nothing was started")
        pids = descendants(demo.pid)
        assert pids
        demo.send_signal(end)
        _, errors = demo.communicate(timeout=PATIENCE)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == -end and errors == b""
    if end == signal.SIGKILL:  # others tidy up then, and need a moment
        wait_until(lambda: not os.listdir(memtally.folder), "the folder is still there")
        wait_until(lambda: not any(map(is_running, pids)), "a process is still there")
    assert os.listdir(memtally.folder) == []
    assert [pid for pid in pids if is_running(pid)] == []


def test_it_ends_when_nobody_reads(memtally):
    demo = memtally.start("demo", "--seconds", "3")
    demo.stdout.readline()
    pids = descendants(demo.pid)
    demo.stdout.close()
    demo.wait(timeout=PATIENCE)
    demo.stderr.close()
    wait_until(lambda: not os.listdir(memtally.folder), "the folder is still there")
    wait_until(lambda: not any(map(is_running, pids)), "a process is still there")


def test_no_place_for_its_folder(memtally):
    done = memtally.run("demo", code=1, MEMTALLY_DIR="/nowhere")
    assert done.stdout == "" and "/nowhere: no folder can be made here" in done.stderr and "MEMTALLY_DIR" in done.stderr


def test_no_recordings(memtally, tmp_path):
    # Where recordings are looked for first: one that is none ends its replay, and the demonstration says why.
    (tmp_path / "llama-1b-n150.trace").write_text("nonsense\n")
    done = memtally.run("demo", code=1, MEMTALLY_TRACES=str(tmp_path))
    assert "'memtally replay llama-1b-n150' has ended" in done.stderr and "nonsense" in done.stderr
    assert os.listdir(memtally.folder) == []
