# SPDX-License-Identifier: Apache-2.0
"""What views do on a real terminal: pager, colours, widths, frames of a watch."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from conftest import COMMAND

PATIENCE = 60
SETTINGS = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}


class Terminal:
    """The command, with a pseudo-terminal of some size as its standard output."""

    def __init__(self, memtally, *arguments, columns=200, lines=60, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        cleared = {name: value for name, value in memtally.environment.items()
                   if name not in ("NO_COLOR", "PAGER", "LESS", "COLUMNS", "LINES")}
        self.process = subprocess.Popen([COMMAND, *map(str, arguments)], stdin=slave, stdout=slave,
                                        stderr=subprocess.PIPE, env={**cleared, **SETTINGS, **environment},
                                        start_new_session=True)
        os.close(slave)
        self.text = ""

    def read_until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition(self.text):
            assert time.monotonic() < deadline, self.text
            if not select.select([self.master], [], [], 1)[0]:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            self.text += data.decode(errors="replace")
        return self.text

    def finish(self):
        """All that was printed; fails if the exit code is not 0."""
        self.read_until(lambda text: False)
        assert self.process.wait(PATIENCE) == 0, self.process.stderr.read()
        self.close()
        return self.text.replace("\r\n", "\n")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def leaked(memtally):
    memtally.run("replay", "leak-until-oom-n150", "--name", "leaky")
    return memtally


def test_colours_are_for_terminals(leaked):
    text = Terminal(leaked, "ps").finish()
    assert "\x1b[1mPID\x1b[0m" in text and "\x1b[31mdead\x1b[0m" in text and "\x1b[31m99.3\x1b[0m" in text
    assert plain(text) == leaked.run("ps").stdout
    for settings in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in Terminal(leaked, "ps", **settings).finish()
    assert "\x1b" not in Terminal(leaked, "--color=never", "ps").finish()
    assert "\x1b" not in leaked.run("ps").stdout
    assert "\x1b[31mdead" in leaked.run("ps", "--color", "always", NO_COLOR="1").stdout
    assert "\x1b" not in Terminal(leaked, "ps", "--json", "--color=auto").finish()


def test_yellow_from_75_percent_on(memtally, trace_file):
    for index, (per_bank, color) in enumerate(((767, None), (768, "33"), (921, "33"), (922, "31"))):
        path = trace_file(f"30 1 a 0 DRAM 1 0 100 {per_bank}", name=f"{index}.trace")
        memtally.run("replay", path, "--kill-after", 1, "--name", f"fill{index}")
        text = memtally.run("ps", "--color=always").stdout
        row = next(line for line in text.splitlines() if f"fill{index}" in line)
        assert row.endswith(f"\x1b[{color}m{100 * per_bank / 1024:.1f}\x1b[0m" if color
                            else f"  {100 * per_bank / 1024:.1f}"), row


@pytest.mark.parametrize("columns", [20, 40, 80, 100, 132])
def test_lines_are_cut_and_never_wrapped(memtally, trace_file, columns):
    long = "a-very-long-tag-" * 7
    path = trace_file(f"10 1 > {long}", f"11 1 > 日本語{long}", "30 1 a 0 DRAM 1 0 100 10", "31 1 f 0 DRAM 99")
    memtally.run("replay", path, "--kill-after", 2, "--name", "fifteen-letters", "--device-id", 1)
    memtally.run("replay", path, "--name", "日本語の名前", "--device-id", 2)
    for arguments in (["ps"], ["buffers"], ["buffers", "--by-tag"], ["devices"], ["leaks"], ["tags"], ["events"]):
        text = plain(Terminal(memtally, *arguments, columns=columns).finish())
        for line in text.splitlines():
            width = len(line) + sum(1 for c in line if "\u2e80" < c < "\uffff")
            assert width <= columns, (arguments, line)
        by_variable = plain(Terminal(memtally, *arguments, columns=300, COLUMNS=str(columns)).finish())
        assert [line.split()[:1] for line in by_variable.splitlines()] == [line.split()[:1] for line in text.splitlines()]


def test_long_screens_go_through_the_pager(leaked, tmp_path):
    seen = tmp_path / "seen"
    pager = f"cat > {seen}; echo paged LESS=$LESS"
    long = ["buffers", "--limit", "0"]
    for settings in ({"MEMTALLY_PAGER": pager}, {"PAGER": pager}, {"MEMTALLY_PAGER": pager, "PAGER": "false"}):
        seen.unlink(missing_ok=True)
        assert Terminal(leaked, *long, lines=24, **settings).finish() == "paged LESS=FRX\n"
        assert len(seen.read_text().splitlines()) == 553 and "\x1b[1m" in seen.read_text()
    assert Terminal(leaked, *long, lines=24, MEMTALLY_PAGER=pager, LESS="X").finish() == "paged LESS=X\n"
    # What fits, what is for programs, and who wants none.
    for arguments, settings in ((["ps"], {}), ([*long, "--no-pager"], {}), (["--no-pager", *long], {}),
                                ([*long, "--json"], {}), (long, {"MEMTALLY_PAGER": ""}), (long, {"TERM": "dumb"}),
                                (long, {"MEMTALLY_PAGER": "cat", "PAGER": pager})):
        assert "paged" not in Terminal(leaked, *arguments, lines=24, **{"PAGER": pager, **settings}).finish()


def test_without_a_pager_the_screen_is_plain(leaked):
    def shown(*arguments, **settings):
        text = Terminal(leaked, "events", "-n", "100", "--color=never", *arguments, lines=24, **settings).finish()
        # Each reading knows better how fast the processor's clock ticks: times differ by a microsecond.
        return re.sub(r"\d\d:\d\d:\d\d\.\d{6}", "TIME", text)

    expected = shown("--no-pager")
    assert len(expected.splitlines()) == 102
    assert shown(PATH="/nowhere") == expected
    assert shown(PAGER="no-such-pager-anywhere 2>/dev/null") == expected


def test_a_pager_that_leaves_early(leaked):
    text = Terminal(leaked, "buffers", "--limit", "0", lines=24, PAGER="head -n 1").finish()
    assert len(text.splitlines()) == 1 and "PID" in text


def test_less_is_the_default(leaked):
    if subprocess.run(["sh", "-c", "command -v less"], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no less")
    terminal = Terminal(leaked, "buffers", "--limit", "0", lines=24, columns=160)
    try:
        terminal.read_until(lambda text: plain(text).count("leaky") or text.count("\n") > 20)
        assert terminal.process.poll() is None, "it waits for keys"
        os.killpg(terminal.process.pid, signal.SIGINT)  # Ctrl-C is for less, which stays
        os.write(terminal.master, b"G")
        terminal.read_until(lambda text: "550 buffers, 11.9 GiB requested" in plain(text))
        os.write(terminal.master, b"q")
        assert terminal.read_until(lambda text: False) and terminal.process.wait(PATIENCE) == 0
    finally:
        terminal.close()


def test_help_goes_through_the_pager(memtally):
    assert Terminal(memtally, "replay", "--help", lines=10, PAGER="echo paged; cat >/dev/null").finish() == "paged\n"


def test_watch_redraws(leaked):
    terminal = Terminal(leaked, "buffers", "--watch", "0.1", lines=12, columns=80)
    try:
        terminal.read_until(lambda text: text.count("\x1b[H") >= 3)
        frames = terminal.text.split("\x1b[H")[1:3]
        assert terminal.text.startswith("\x1b[2J")
        for frame in frames:
            lines = plain(frame).replace("\r", "").split("\n")
            assert lines[0] == "Every 0.1 s: memtally buffers\x1b[K"
            assert len(lines) <= 12 and re.fullmatch(r"\.\.\. and \d+ more lines\x1b\[K", lines[-2])
            assert lines[-1].startswith("\x1b[J")
        # Another size is seen at once, also between frames that are far apart.
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 30, 0, 0))
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.text = ""
        terminal.read_until(lambda text: text.count("\x1b[H") >= 3)
        last = plain(terminal.text.split("\x1b[H")[-2]).replace("\r", "").replace("\x1b[K", "").split("\n")
        assert max(map(len, last)) <= 30 + len("\x1b[J") and len(last) > 40
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(PATIENCE) == 0 and terminal.process.stderr.read() == b""
    finally:
        terminal.close()


def test_watch_on_a_dumb_terminal(leaked):
    terminal = Terminal(leaked, "ps", "--watch", "0.05", TERM="dumb")
    try:
        terminal.read_until(lambda text: text.count("---\r\n") >= 2)
        assert "\x1b" not in terminal.text
    finally:
        terminal.close()
