# SPDX-License-Identifier: Apache-2.0
"""memtally channels, and the README's two processes that move messages; memtally bench channels."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import BUILD_DIR, COMMAND
from document_schemas import validate

EXAMPLE = BUILD_DIR / "examples" / "memtally_example_spsc"


@pytest.fixture
def folder(tmp_path):
    """Where this test's channels lie."""
    return dict(os.environ, MEMTALLY_CHANNEL_DIR=str(tmp_path))


def listed(environment):
    done = subprocess.run([COMMAND, "channels", "--json"], env=environment, capture_output=True, text=True, check=True)
    return validate(json.loads(done.stdout))["channels"]


def screen(environment):
    return subprocess.run([COMMAND, "channels"], env=environment, capture_output=True, text=True, check=True).stdout


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def consumers(environment):
    return [one for entry in listed(environment) if entry["channel"] for one in entry["channel"]["participants"]
            if one["role"] == "consumer"]


def test_two_processes_move_messages(folder):
    receiver = subprocess.Popen([EXAMPLE, "receive"], env=folder, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: consumers(folder))
    entry, = listed(folder)
    assert entry["uri"] == "ipc://example-spsc" and entry["fault"] == ""
    assert entry["channel"]["mode"] == "spsc" and entry["channel"]["ring_bytes"] == 1 << 20
    assert consumers(folder)[0]["pid"] == receiver.pid and consumers(folder)[0]["alive"]
    assert f"({receiver.pid})" in screen(folder) and "ipc://example-spsc" in screen(folder)
    subprocess.run([EXAMPLE, "send"], env=folder, check=True, timeout=60)
    output, _ = receiver.communicate(timeout=60)
    assert output.splitlines()[0] == "0.0 0.1 0.2" and len(output.splitlines()) == 10
    assert receiver.returncode == 0
    assert listed(folder) == [] and screen(folder) == "No ipc channel is there.\n"


def test_the_dead_are_named(folder):
    receiver = subprocess.Popen([EXAMPLE, "receive"], env=folder)
    wait_for(lambda: consumers(folder))
    receiver.send_signal(signal.SIGKILL)
    receiver.wait()
    entry, = listed(folder)
    assert entry["channel"]["stale"] and not consumers(folder)[0]["alive"]
    assert "dead" in screen(folder) and "stale" in screen(folder)


@pytest.mark.parametrize("content, says", [
    (b"", "too short"), (b"\0" * 8192, "never finished"), (b"x" * 8192, "not a channel"),
    (b"MTALLYCH" + b"\x07\0\0\0" + b"\0" * 8192, "version 7")])
def test_what_is_no_channel(folder, content, says):
    path = os.path.join(folder["MEMTALLY_CHANNEL_DIR"], "memtally-channel.example-spsc")
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    entry, = listed(folder)
    assert says in entry["fault"] and entry["channel"] is None
    assert says in screen(folder)


def test_a_folder_that_is_not_there(folder):
    folder["MEMTALLY_CHANNEL_DIR"] += "/nothing"
    done = subprocess.run([COMMAND, "channels"], env=folder, capture_output=True, text=True)
    assert done.returncode == 1 and "nothing" in done.stderr


def test_bench_channels_knows_its_rows():
    done = subprocess.run([COMMAND, "bench", "channels", "--only", "carrier pigeons"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert 'no row has "carrier pigeons" in its name' in done.stderr and "memory SPSC 64 bytes" in done.stderr


@pytest.mark.parametrize("transport,mode,peers", [("memory", "SPSC", True), ("ipc", "SPSC", True), ("ipc", "MPSC", False),
                                                  ("memory", "BROADCAST", False), ("ipc", "BROADCAST", False)])
def test_bench_channels(transport, mode, peers):
    done = subprocess.run([COMMAND, "bench", "channels", "--json", "--quick", "--only", f"{transport} {mode} 16 bytes"],
                          capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    document = validate(json.loads(done.stdout))
    assert document["line_rtt_ns"] > 0 and document["memory_spsc_56_byte_rtt_p99_ns"] > 0
    assert [(row["bytes"], row["batch"]) for row in document["rows"]] == [(16, 1), (16, 32)]
    for row in document["rows"]:
        assert (row["transport"], row["mode"]) == (transport, mode)
        assert row["intact"] and row["messages_per_s"] > 0 and row["rtt_p50_ns"] > 0
        if peers:
            assert row["best_peer"] and row["best_peer_messages_per_s"] > 0
        if mode == "BROADCAST":
            assert row["best_peer"] is None
