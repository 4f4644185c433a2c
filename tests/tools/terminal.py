# SPDX-License-Identifier: Apache-2.0
"""A program in a pseudo-terminal, with a terminal emulator that shows what a person would see."""

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import pyte

KEYS = {
    "up": b"\x1bOA", "down": b"\x1bOB", "right": b"\x1bOC", "left": b"\x1bOD", "home": b"\x1bOH", "end": b"\x1bOF",
    "page up": b"\x1b[5~", "page down": b"\x1b[6~", "enter": b"\r", "escape": b"\x1b", "tab": b"\t",
    "back tab": b"\x1b[Z", "backspace": b"\x7f", "delete": b"\x1b[3~", "F1": b"\x1bOP", "F4": b"\x1bOS",
    "F5": b"\x1b[15~", "F6": b"\x1b[17~", "F9": b"\x1b[20~", "F10": b"\x1b[21~", "control c": b"\x03",
    "control l": b"\x0c", "control u": b"\x15", "control z": b"\x1a",
}


class Screen(pyte.Screen):
    """Knows what pyte does not and ncurses uses: the alternate screen, scrolling by lines, repeated characters."""

    alternate = False
    last_drawn = ""

    def draw(self, data):
        super().draw(data)
        self.last_drawn = data[-1:]

    def repeat_character(self, count=1):
        self.draw(self.last_drawn * (count or 1))

    def scroll_up(self, count=1):
        self._scroll(count, self.index, -1)

    def scroll_down(self, count=1):
        self._scroll(count, self.reverse_index, 0)

    def _scroll(self, count, step, edge):
        margins = self.margins or pyte.screens.Margins(0, self.lines - 1)
        line, self.cursor.y = self.cursor.y, margins[edge]
        for _ in range(count or 1):
            step()
        self.cursor.y = line

    def set_mode(self, *modes, **arguments):
        self.alternate = self.alternate or (arguments.get("private", False) and 1049 in modes)
        super().set_mode(*modes, **arguments)

    def reset_mode(self, *modes, **arguments):
        self.alternate = self.alternate and not (arguments.get("private", False) and 1049 in modes)
        super().reset_mode(*modes, **arguments)


class Stream(pyte.ByteStream):
    csi = {**pyte.ByteStream.csi, "b": "repeat_character", "S": "scroll_up", "T": "scroll_down"}
    events = pyte.ByteStream.events | {"repeat_character", "scroll_up", "scroll_down"}


class Terminal:
    """Starts `arguments` as the leader of a session of its own in a terminal of so many columns and lines."""

    def __init__(self, arguments, columns=100, lines=30, **environment):
        self.screen = Screen(columns, lines)
        self.stream = Stream(self.screen)
        self.sent = b""  # all that the program wrote
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                # The parent sets the size before it lets us go on.
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
                os.execve(arguments[0], [os.fspath(one) for one in arguments], environment)
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def pump(self, seconds=0.0):
        """Takes what the program has written, for at most so long; False if the terminal is gone."""
        readable, _, _ = select.select([self.fd], [], [], seconds)
        if not readable:
            return True
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError as error:
            if error.errno == errno.EIO:
                return False
            raise
        self.sent += data
        self.stream.feed(data)
        return bool(data)

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, condition, seconds=30):
        """Until condition(self) holds; fails with the screen if it never does."""
        end = time.monotonic() + seconds
        while not condition(self):
            assert time.monotonic() < end, f"waited in vain for {condition}; the screen is:\n{self.text()}"
            if not self.pump(0.05):
                time.sleep(0.01)

    def see(self, *texts, seconds=30):
        self.wait(lambda terminal: all(text in terminal.text() for text in texts), seconds)

    def see_no(self, text):
        self.wait(lambda terminal: text not in terminal.text())

    def press(self, *keys):
        for key in keys:
            os.write(self.fd, KEYS[key] if key in KEYS else key.encode())

    def click(self, column, line, button=0):
        """With the left button, in the SGR form; buttons 64 and 65 are the wheel."""
        for end in "Mm":
            os.write(self.fd, f"\x1b[<{button};{column + 1};{line + 1}{end}".encode())

    def resize(self, columns, lines):
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def line_of(self, text):
        for number, line in enumerate(self.screen.display):
            if text in line:
                return number
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text()}")

    def attributes(self):
        return termios.tcgetattr(self.fd)

    def wait_for_end(self, seconds=30):
        """The exit code, or minus the signal."""
        end = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.status = os.waitstatus_to_exitcode(status)
                break
            assert time.monotonic() < end, f"it does not end; the screen is:\n{self.text()}"
            if self.fd >= 0:
                self.pump(0.02)
        while self.fd >= 0:  # what it wrote at its end
            readable, _, _ = select.select([self.fd], [], [], 0)
            if not readable or not self.pump():
                break
        return self.status

    def unplug(self):
        os.close(self.fd)
        self.fd = -1

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = -signal.SIGKILL
        if self.fd >= 0:
            self.unplug()
