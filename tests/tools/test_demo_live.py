# SPDX-License-Identifier: Apache-2.0
"""memtally demo on a terminal: the story, its keys, and what it leaves behind: nothing."""

import os
import signal
import sys

import pytest
from conftest import COMMAND, ROOT
from test_demo import descendants, is_running, wait_until

sys.path.insert(0, str(ROOT / "scripts"))
terminal_picture = pytest.importorskip("terminal_picture", reason="needs pyte (requirements-dev.txt)")

STEPS = 10


class Show:
    """memtally demo on a terminal of its own. A context, at whose end nothing of it may be left."""

    def __init__(self, memtally, *arguments, columns=110, lines=34, term=terminal_picture.TERM, **environment):
        self.folder = memtally.folder
        self.terminal = terminal_picture.Terminal([str(COMMAND), "demo", *map(str, arguments)], columns, lines,
                                                  {**memtally.environment, **environment}, term)
        self.pids = set()

    def __enter__(self):
        self.terminal.__enter__()
        return self

    def __exit__(self, *failure):
        self.pids |= descendants(self.terminal.pid)
        self.terminal.__exit__(*failure)
        if failure[0] is None:
            wait_until(lambda: not os.listdir(self.folder), "the folder is still there")
            wait_until(lambda: not any(map(is_running, self.pids)), "a process is still there")

    def wait_for_step(self, number):
        self.terminal.wait_for(f" {number} of {STEPS}: ")
        self.pids |= descendants(self.terminal.pid)

    def text(self):
        """The screen, with words that were put on the next line after those before them."""
        return " ".join(self.terminal.text.split())


def test_the_whole_story(memtally):
    with Show(memtally, "--seconds", 6) as show:
        seen = {}
        for number in range(1, STEPS + 1):
            show.wait_for_step(number)
            show.terminal.run_for(0.2)
            seen[number] = show.text()
            show.terminal.press("n")
        assert show.terminal.wait_for_end() == 0
        after = show.text()
    for name in ("llama", "resnet", "chat-server", "device 0", "device 1", "device 2"):
        assert name in seen[1]
    assert "memtally top" in seen[1] and "q Quit" in seen[1]
    assert "debug copy" in seen[4]
    assert "The chat server asked for 32.0 MiB more and did not get them, although 80.4 MiB are free." in seen[5]
    assert "The largest free block of a bank has 2.4 MiB, and 2.7 MiB were needed" in seen[6] and "failed" in seen[6]
    assert "with SIGKILL" in seen[7] and "It died holding 550 buffers, 11.9 GiB" in seen[7] and "dead" in seen[7]
    assert "The debug copies are the leak: 462 buffers, 10.8 GiB of 11.9 GiB." in seen[8] and "request" in seen[8]
    assert "16.0 MiB" in seen[9] and "debug" in seen[9]
    assert "What next?" in after and "memtally run -- COMMAND" in after


def test_by_itself_it_ends(memtally):
    with Show(memtally, "--seconds", 3, columns=80, lines=24) as show:
        show.wait_for_step(STEPS)
        assert "The programs and their ledgers vanish" in show.text() and "dead" in show.text()
        assert show.terminal.wait_for_end() == 0
        assert "What next?" in show.text()


def states(pids):
    found = set()
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            found.add(stat.read().rsplit(")", 1)[1].split()[0])
    return found


def test_a_pause_stops_the_programs_too(memtally):
    with Show(memtally, "--seconds", 15) as show:
        show.wait_for_step(1)
        terminal = show.terminal
        terminal.press(" ")
        terminal.wait_for("paused: the programs stand still")

        def stopped_now():
            return [pid for pid in descendants(terminal.pid) if states([pid]) == {"T"}]

        # Three programs, of two processes each; a busy machine takes its time to stop them.
        assert terminal.run_for(20, until=lambda: len(stopped_now()) == 6), stopped_now()
        stopped = stopped_now()
        # The story stands still, too, for longer than this step would take.
        assert not terminal.run_for(3, until=lambda: "2 of 10" in terminal.text)
        terminal.press(" ")
        show.wait_for_step(2)
        assert "T" not in states(stopped)
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_whoever_looks_around_is_not_called_away(memtally):
    with Show(memtally, "--seconds", 15) as show:
        show.wait_for_step(1)
        terminal = show.terminal
        terminal.press("h")
        terminal.wait_for("look around; the story waits for you")
        assert not terminal.run_for(3, until=lambda: "2 of 10" in terminal.text)
        terminal.press("\x1b")
        terminal.press("\r")
        terminal.wait_for("Oldest")
        terminal.press("n")
        show.wait_for_step(2)
        assert "Oldest" not in terminal.text and "device 0" in terminal.text
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_a_key_that_is_typed_into_a_filter_is_not_the_demonstrations(memtally):
    with Show(memtally, "--seconds", 60) as show:
        show.wait_for_step(1)
        terminal = show.terminal
        terminal.press("/")
        terminal.wait_for("Filter:")
        terminal.press("n q")
        terminal.wait_for("Filter: n q")
        terminal.press("\x1b")
        terminal.run_for(1)
        assert "1 of 10" in terminal.text and terminal.status is None
        terminal.press("q")
        assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, "ctrl-c", "hang up"])
def test_interrupted_it_leaves_nothing(memtally, end):
    with Show(memtally, "--seconds", 20) as show:
        show.wait_for_step(1)
        terminal = show.terminal
        if end == "ctrl-c":
            terminal.press("\x03")
        elif end == "hang up":
            os.close(terminal.fd)
            terminal.fd = os.open("/dev/null", os.O_RDWR)
        else:
            os.kill(terminal.pid, end)
        if end == "hang up":
            wait_until(lambda: not is_running(terminal.pid), "it is still there")
            return
        status = terminal.wait_for_end()
        assert status == (0 if end in ("ctrl-c", signal.SIGINT) else -end)


def test_resized_to_anything_it_goes_on(memtally):
    with Show(memtally, "--seconds", 20) as show:
        show.wait_for_step(1)
        terminal = show.terminal
        for columns, lines in ((20, 4), (3, 1), (200, 60), (60, 12), (110, 34)):
            terminal.resize(columns, lines)
            terminal.run_for(0.3)
            assert terminal.status is None
        terminal.wait_for(f"of {STEPS}: ")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_a_terminal_that_cannot_be_drawn_on_gets_text_and_no_pager(memtally):
    with Show(memtally, "--seconds", 3, lines=20, term="dumb", PAGER="less", MEMTALLY_PAGER="less") as show:
        assert show.terminal.wait_for_end() == 0
        assert "== 10 of 10: That was all" in show.terminal.text and "What next?" in show.terminal.text
