# SPDX-License-Identifier: Apache-2.0
"""memtally top in a terminal: every key, the mouse, sizes, signals, and what it leaves of the terminal."""

import fcntl
import os
import random
import re
import signal
import subprocess
import termios
import time

import pytest
from conftest import COMMAND

pytest.importorskip("pyte")
from terminal import KEYS, Terminal  # noqa: E402

# On chip 0 and 1: tags, a circular buffer, a free of a buffer that never was, an allocation that failed.
BIG = [
    "device 0 tenstorrent wormhole_b0 77", "kind 0 DRAM 12288 12 1024", "kind 0 L1 65536 64 1024",
    "device 1 tenstorrent wormhole_b0 78", "kind 1 DRAM 12288 12 1024",
    "0 1 > model", "0 1 > layer 1", "0 1 a 0 DRAM 1 4096 6000 512", "0 1 <", "0 1 > layer 2",
    "0 1 a 0 DRAM 2 8192 3000 256", "0 1 <", "0 1 <", "0 1 a 0 L1 3 4096 640 10", "0 1 a 0 CB 4 100 6400 100",
    "0 1 a 1 DRAM 5 0 1200 100", "0 1 f 0 DRAM 999", "0 1 x 0 DRAM 99999 9999",
]
SMALL = ["device 0 tenstorrent wormhole_b0 77", "kind 0 DRAM 12288 12 1024", "0 1 a 0 DRAM 1 4096 1200 100"]


@pytest.fixture
def hold(memtally, trace_file):
    """Starts replays that stay with what they hold, and returns the pids; ends them."""
    started = []

    def start(name, lines=SMALL):
        trace = trace_file(*lines, name=f"{name}.trace", head=False)
        with open(trace, "r+b") as file:
            text = file.read()
            file.seek(0)
            file.write(b"memtally-trace 1\n" + text)
        started.append(subprocess.Popen([COMMAND, "replay", trace, "--hold", "--name", name], env=memtally.environment,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        last = re.findall(r" a (\d+) (\w+) ", "\n".join(lines))
        end = time.monotonic() + 60
        while True:
            for process in memtally.json("ps", "--no-clean-up")["processes"]:
                live = sum(account["live"]["count"] for account in process["accounts"])
                if process["command"] == name and live == len(last):
                    return process["pid"]
            assert time.monotonic() < end and started[-1].poll() is None, f"the replay of {name} does not start"
            time.sleep(0.02)

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)


@pytest.fixture
def top(memtally):
    """Starts memtally top in a terminal; checks at the end that nobody was left."""
    terminals = []

    def start(*arguments, columns=110, lines=32, refresh="100", **environment):
        inherited = {name: value for name, value in memtally.environment.items()
                     if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        environment = {**inherited, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment}
        terminals.append(Terminal([COMMAND, "top", "-r", refresh, *arguments], columns, lines, **environment))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def selected(terminal):
    """The line that is shown in reverse."""
    for number, line in enumerate(terminal.screen.display):
        if terminal.screen.buffer[number][0].reverse:
            return line
    return ""


def row_of(terminal, pid):
    """The number of a process's line in the table."""
    terminal.wait(lambda _: any(re.match(rf" *{pid} ", line) for line in terminal.screen.display))
    return next(i for i, line in enumerate(terminal.screen.display) if re.match(rf" *{pid} ", line))


def choose(terminal, text, seconds=30):
    """Moves the selection onto the line that holds `text`."""
    terminal.see(text)
    end = time.monotonic() + seconds
    while text not in selected(terminal):
        assert time.monotonic() < end, f"cannot choose {text}:\n{terminal.text()}"
        before = selected(terminal)
        terminal.press("down")
        moved = time.monotonic() + 1
        while selected(terminal) == before and time.monotonic() < moved:
            terminal.pump(0.05)
        if selected(terminal) == before:  # the last one
            terminal.press("home")
            terminal.pump(0.1)


def test_shows_devices_and_processes(top, hold):
    big = hold("big", BIG)
    small = hold("small")
    terminal = top()
    terminal.see("memtally top", "device 0", "device 1", str(big), str(small), "10.2 KiB / 12.0 KiB", "!",
                 "failed: big", "anomalies: unknown_free 1")
    line = terminal.screen.display[row_of(terminal, big)]
    assert "big" in line and "<" in line
    assert "cb up to 100 B a bank, 0x64 to 0xc8" in terminal.text()
    assert terminal.screen.alternate
    terminal.press("q")
    assert terminal.wait_for_end() == 0
    assert not terminal.screen.alternate


def test_every_key_on_the_machine(top, hold, tmp_path):
    big = hold("big", BIG)
    hold("small")
    terminal = top(columns=140)
    terminal.see("RESERVED▼")
    for key, seen in [("I", "RESERVED▲"), ("N", "PID▲"), (">", "USER▲"), ("<", "PID▲"), ("F6", "USER▲"), (".", "STATE▲"),
                      (",", "USER▲"), ("A", "ANOM▼"), ("B", "BUFFERS▼"), ("M", "RESERVED▼")]:
        terminal.press(key)
        terminal.see(seen)
    terminal.press("m")
    terminal.see("dram", " l1 ")
    terminal.press("m")
    terminal.press("c")
    terminal.see_no(" small")
    terminal.press("c")
    for key in ("h", "?", "F1"):
        terminal.press(key)
        terminal.see("Anywhere")
        terminal.press("page down", "down", "up", "end", "home", "page up", "escape")
        terminal.see("RESERVED▼")
    for key in ("t", "t", "F5", "F5", "a", "a", "[", "]", "g", "G", "page up", "page down", "left", "right", "delete"):
        terminal.press(key)
    choose(terminal, str(big))
    terminal.press(" ")
    terminal.see("PAUSED")
    terminal.press(" ")
    terminal.see_no("PAUSED")
    terminal.press("/", "SMAL", "enter")
    terminal.see("filter SMAL (1 hidden)")
    terminal.press("F4", "control u", "(", "enter")
    terminal.see("not a regular expression")
    terminal.press("escape")
    terminal.see("filter SMAL")
    terminal.press("escape")
    terminal.see_no("filter SMAL")
    file = tmp_path / "screen.txt"
    terminal.press("s", "control u", os.fspath(file), "enter")
    terminal.see("Written to")
    assert "memtally top" in file.read_text() and "Write the screen to" not in file.read_text()
    before = file.read_text()
    terminal.press("s", "control u", os.fspath(file), "enter")
    terminal.see("is there already")
    assert file.read_text() == before
    terminal.press("control l")
    terminal.see("memtally top")
    terminal.press("F10")
    assert terminal.wait_for_end() == 0


def test_cursor_keys_in_their_other_form(top, hold):
    hold("one")
    hold("two")
    terminal = top()
    terminal.see("one", "two")
    first = selected(terminal)
    os.write(terminal.fd, b"\x1b[B")
    terminal.wait(lambda _: selected(terminal) not in ("", first))


def test_looks_into_a_process(top, hold):
    big = hold("big", BIG)
    terminal = top()
    choose(terminal, str(big))
    terminal.press("enter")
    terminal.see("1 Tags", "model", "layer 1", "OTHER", "1 anomaly", "1 failed allocation")
    choose(terminal, "model")
    terminal.press("left")
    terminal.see_no("layer 1")
    for key in ("right", "enter", "enter", "-", "+", "*", "*"):
        terminal.press(key)
    terminal.see("layer 2")
    for key, seen in [("2", "CAPACITY"), ("tab", "SIZE FROM"), ("4", "ADDRESS"), ("5", "6.0 KiB"), ("6", "unknown_free: 1"),
                      ("7", "device 0 dram: 1 failed"), ("8", "alloc_failed"), ("back tab", "1 failed,"),
                      ("3", "SIZE FROM"), ("1", "layer 2")]:
        terminal.press(key)
        terminal.see(seen)
    terminal.click(9, terminal.line_of("1 Tags"))
    terminal.see("CAPACITY")
    for key in ("escape", "backspace"):
        terminal.press(key)
        terminal.see("COMMAND")
        terminal.press("enter")
        terminal.see("1 Tags")
    # Also while nothing else is looked at.
    terminal.press("escape", " ")
    terminal.see("PAUSED", "COMMAND")
    terminal.press("enter")
    terminal.see("layer 1", "PAUSED")
    terminal.press("q")
    assert terminal.wait_for_end() == 0


def test_mouse(top, hold):
    hold("one")
    two = hold("two")
    terminal = top()
    terminal.see("one", "two", "RESERVED▼")
    heading = terminal.line_of("COMMAND")
    terminal.click(terminal.screen.display[heading].index("PID"), heading)
    terminal.see("PID▲")
    terminal.click(terminal.screen.display[heading].index("PID"), heading)
    terminal.see("PID▼")
    terminal.click(20, row_of(terminal, two))
    terminal.wait(lambda _: str(two) in selected(terminal))
    terminal.click(20, row_of(terminal, two), button=65)
    terminal.wait(lambda _: selected(terminal) and str(two) not in selected(terminal))
    terminal.click(20, row_of(terminal, two), button=64)
    terminal.wait(lambda _: str(two) in selected(terminal))
    terminal.click(20, row_of(terminal, two))
    terminal.see("1 Tags")


def test_kill_asks_and_then_kills(top, hold, memtally):
    keeps = hold("keeps")
    goes = hold("goes")
    terminal = top()
    choose(terminal, str(goes))
    terminal.press("k")
    terminal.see(f"Send SIGTERM to {goes} goes? [y/N]")
    for key in ("n", "enter", "escape"):
        terminal.press(key)
        terminal.see("Nothing was sent.")
        terminal.press("F9")
        terminal.see("[y/N]")
    terminal.press("tab")
    terminal.see("Send SIGINT")
    terminal.press("back tab", "back tab")
    terminal.see("Send SIGKILL")
    terminal.press("y")
    terminal.see(f"SIGKILL was sent to {goes} goes.", "dead: ")
    states = {one["pid"]: one["state"] for one in memtally.json("ps", "--no-clean-up")["processes"]}
    assert states[keeps] == "alive" and states[goes] == "dead"
    choose(terminal, str(goes))
    terminal.press("k")
    terminal.see("It cannot be sent a signal: it is dead.")


def test_kill_of_one_that_ended_while_the_person_thought(top, hold):
    goes = hold("goes")
    terminal = top(refresh="3600000")  # what is on the screen grows old
    choose(terminal, str(goes))
    terminal.press("k")
    terminal.see("[y/N]")
    os.kill(goes, signal.SIGKILL)
    end = time.monotonic() + 30
    while os.path.exists(f"/proc/{goes}") and time.monotonic() < end:
        try:
            if open(f"/proc/{goes}/stat").read().rsplit(")", 1)[1].split()[0] == "Z":
                break
        except OSError:
            break
        time.sleep(0.01)
    terminal.press("y")
    terminal.see(f"Nothing was sent to {goes} goes: it has ended.")


def test_readonly_never_kills(top, hold):
    keeps = hold("keeps")
    terminal = top("--readonly")
    choose(terminal, str(keeps))
    for key in ("k", "F9"):
        terminal.press(key)
        terminal.see("Started with --readonly", "read-only")
        terminal.press("y")
        terminal.see_no("Started with --readonly")
    terminal.press("q")
    assert terminal.wait_for_end() == 0
    os.kill(keeps, 0)


# ---- what becomes of the terminal ----

def test_interrupt_is_a_way_to_leave(top, hold):
    hold("one")
    terminal = top()
    before = terminal.attributes()
    terminal.see("one")
    terminal.press("control c")
    assert terminal.wait_for_end() == 0
    assert not terminal.screen.alternate
    assert terminal.attributes() == before or terminal.attributes()[3] & termios.ECHO


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_end_it_with_the_terminal_restored(top, sent):
    terminal = top()
    terminal.see("memtally top", "COMMAND")
    assert not terminal.attributes()[3] & termios.ECHO
    os.kill(terminal.pid, sent)
    assert terminal.wait_for_end() == -sent
    assert not terminal.screen.alternate
    assert terminal.attributes()[3] & termios.ECHO
    assert b"\x1b[?1000l" in terminal.sent.replace(b"1006;1000", b"1000")  # the mouse is let go


def test_stop_and_go_on(top, hold):
    hold("one")
    terminal = top()
    terminal.see("one")
    os.kill(terminal.pid, signal.SIGTSTP)
    end = time.monotonic() + 30
    while True:
        # An orphaned process group cannot be stopped by SIGTSTP; then it just goes on.
        state = open(f"/proc/{terminal.pid}/stat").read().rsplit(")", 1)[1].split()[0]
        if state == "T" or time.monotonic() > end or b"\x1b[?1049l" in terminal.sent:
            break
        terminal.pump(0.05)
    terminal.pump(0.2)
    assert b"\x1b[?1049l" in terminal.sent
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.wait(lambda one: one.screen.alternate)
    terminal.see("one")
    terminal.press("q")
    assert terminal.wait_for_end() == 0


def test_terminal_that_is_unplugged(top):
    terminal = top()
    terminal.see("memtally top")
    terminal.unplug()
    assert terminal.wait_for_end() in (0, -signal.SIGHUP)


def test_frames(top):
    terminal = top("--frames", "3")
    assert terminal.wait_for_end() == 0
    assert not terminal.screen.alternate


# ---- sizes ----

def test_sizes_and_storms_of_them(top, hold):
    hold("one", BIG)
    terminal = top(columns=80, lines=24)
    terminal.see("one")
    for columns, lines in [(20, 5), (1, 1), (300, 100), (5, 60), (40, 12)]:
        terminal.resize(columns, lines)
        if columns >= 20:
            terminal.wait(lambda one: "RESERVED" in one.text())
    dice = random.Random(7)
    for _ in range(200):
        terminal.resize(dice.randrange(1, 200), dice.randrange(1, 60))
        if dice.randrange(5) == 0:
            terminal.press(dice.choice(["enter", "escape", "down", "2", "h", "t"]))
        terminal.pump(0)
    terminal.resize(100, 30)
    terminal.press("escape", "escape", "escape")
    terminal.see("COMMAND", "device 0", "q Quit")
    terminal.press("q")
    assert terminal.wait_for_end() == 0


def test_tiny_window_from_the_start(top, hold):
    hold("one")
    terminal = top(columns=2, lines=1)
    terminal.pump(0.5)
    terminal.press("down", "enter", "q")
    assert terminal.wait_for_end() == 0


# ---- how it looks ----

def colors(terminal):
    return {cell.fg for line in terminal.screen.buffer.values() for cell in line.values()} - {"default"}


def test_colors(top, hold):
    hold("one", BIG)
    terminal = top()
    terminal.see("one", "q Quit")
    assert len(colors(terminal)) >= 5
    # The terminal's own background stays.
    assert {cell.bg for line in terminal.screen.buffer.values() for cell in line.values()} == {"default"}


@pytest.mark.parametrize("how", ["NO_COLOR", "--color", "vt100"])
def test_no_colors(top, hold, how):
    hold("one", BIG)
    arguments = ["--color", "never"] if how == "--color" else []
    environment = {"NO_COLOR": {"NO_COLOR": "1"}, "vt100": {"TERM": "vt100"}}.get(how, {})
    terminal = top(*arguments, **environment)
    terminal.see("one", "q Quit")
    assert colors(terminal) == set()


@pytest.mark.parametrize("how", ["--ascii", "locale"])
def test_ascii(top, hold, how):
    hold("one", BIG)
    terminal = top("--ascii") if how == "--ascii" else top(LC_ALL="C")
    terminal.see("one", "[####")
    assert terminal.text().isascii()


def test_without_a_locale_utf8_is_assumed(top, hold):
    hold("one", BIG)
    terminal = top(LC_ALL="", LANG="", LC_CTYPE="")
    terminal.see("█")


def test_names_that_would_break_a_screen(top, hold):
    for name in ("\x1b[2J\x1b[31mred", "日本語", "\u202egnp", "e\u0301🚀"):
        hold_name = name.encode()[:15].decode(errors="ignore")
        hold(hold_name)
    terminal = top()
    terminal.see("日", "\\x1b[2J", "\\u{202e}gnp", "🚀")
    assert "\u202e" not in terminal.text()
    for line in terminal.screen.display:
        assert len(line) <= 110


@pytest.mark.parametrize("kind", ["", "nonsense-terminal", "dumb"])
def test_terminal_that_cannot_be_drawn_on(top, kind):
    terminal = top(TERM=kind)
    assert terminal.wait_for_end() == 1
    assert "TERM is" in terminal.text() and "--once" in terminal.text()


# ---- without a terminal ----

def test_plain_frames(memtally, hold):
    big = hold("big", BIG)
    done = memtally.run("top", COLUMNS="100", LC_ALL="C.UTF-8")
    assert done.stderr == "" and "\x1b" not in done.stdout
    assert str(big) in done.stdout and "device 0" in done.stdout and "unknown_free" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    done = memtally.run("top", "--frames", "3", "-r", "50", LC_ALL="C")
    assert done.stdout.count("memtally top") == 3
    assert done.stdout.isascii()


def test_some_devices_only(memtally, hold):
    hold("big", BIG)
    hold("small")
    text = memtally.run("top", "-d", "1").stdout
    assert "device 1" in text and "device 0" not in text and "small" not in text
    text = memtally.run("top", "-d", "1", "--device", "0").stdout
    assert "device 1" in text and "device 0" in text and "small" in text


def test_once_on_a_terminal(top):
    terminal = top("--once")
    assert terminal.wait_for_end() == 0
    assert b"\x1b" not in terminal.sent
    assert "memtally top" in terminal.text()


def test_first_frame_comes_soon(memtally, top, hold):
    hold("one")
    begin = time.monotonic()
    terminal = top()
    terminal.see("one")
    assert time.monotonic() - begin < 5  # on a machine that does other things as well


def test_random_keys_in_the_real_terminal(top, hold):
    hold("one", BIG)
    terminal = top("--readonly")
    terminal.see("one")
    dice = random.Random(11)
    names = [name for name in KEYS if name not in ("control c", "F10", "control z", "enter")]
    for step in range(400):
        terminal.press(dice.choice([*names, *"hI<>tmca[]g*+-12345678/xyz"]))
        if step % 20 == 0:
            terminal.pump(0)
    terminal.press("escape", "escape", "escape", "escape")
    terminal.see("one")


def test_writes_only_what_changed(top, hold):
    hold("one", BIG)
    terminal = top()
    terminal.see("one", "q Quit")
    for _ in range(20):
        terminal.pump(0.1)
    before = len(terminal.sent)
    terminal.wait(lambda _: True)
    for _ in range(20):
        terminal.pump(0.1)
    # Twenty looks; a whole screen has thousands of bytes.
    assert len(terminal.sent) - before < 20 * 300
