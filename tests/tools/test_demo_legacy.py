# SPDX-License-Identifier: Apache-2.0
"""memtally demo --legacy: a server and clients of every generation, and nothing of them stays."""

import os
import re
import signal
import subprocess

import pytest
from conftest import COMMAND
from legacy_daemon import DAEMON
from test_demo import descendants, is_running, wait_until


@pytest.fixture(autouse=True)
def server_is_built():
    if not DAEMON.exists():
        pytest.skip(f"{DAEMON} is not built")


def test_every_generation_and_a_kill(memtally):
    text = memtally.run("demo", "--legacy").stdout
    for size in (72, 112, 128, 144):
        assert re.search(rf"alive +legacy-{size} .* dram +8 +128.0 MiB .* legacy\n", text)
        assert re.search(rf"alive +legacy-{size} .* l1 +3 +768.0 KiB .* legacy\n", text)
    assert text.count("128.0 MiB /    12.0 GiB") == 4  # bars of the monitor
    leaks = text[text.index("$ memtally leaks"):]
    assert re.search(r"128.0 MiB .*legacy-112", leaks) and "legacy-72" not in leaks[: leaks.index("== 3 of 3")]
    assert "statistics" in leaks[leaks.index("== 3 of 3"):]
    assert list(memtally.folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_however_it_ends(memtally, number):
    with subprocess.Popen([COMMAND, "demo", "--legacy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=memtally.environment) as demo:
        for line in demo.stdout:
            if "memtally ps" in line:
                break
        processes = descendants(demo.pid)
        assert len(processes) >= 5
        demo.send_signal(number)
        demo.communicate(timeout=60)
        assert demo.returncode == -number or number != signal.SIGKILL
    wait_until(lambda: not any(map(is_running, processes)), "its processes ended")
    wait_until(lambda: not os.listdir(memtally.folder), "its folder is gone")
