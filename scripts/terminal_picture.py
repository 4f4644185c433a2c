# SPDX-License-Identifier: Apache-2.0
"""Runs a program on a terminal of a fixed size, drives it by keys, and turns what it shows into an SVG picture.

Bars, boxes and braille are drawn as shapes and every character has its own place, so that a picture looks the same
whatever fonts its reader has.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
import unicodedata
from xml.sax.saxutils import escape

import pyte
import wcwidth

TERM = "screen-256color"


class Screen(pyte.Screen):
    """A screen that also knows what pyte leaves out: dim text (kept as italics, which nobody here uses), scrolling."""

    def select_graphic_rendition(self, *attributes, **more):
        if not more.get("private"):
            attributes = tuple({2: 3, 3: 0}.get(code, code) if not self._is_colour(attributes, i) else code
                               for i, code in enumerate(attributes))
            # 22 ends both bold and dim.
            if 22 in attributes and not self._is_colour(attributes, attributes.index(22)):
                attributes += (23,)
        super().select_graphic_rendition(*attributes)

    def scroll_up(self, lines=None):
        self._scroll(lines, (self.margins or pyte.screens.Margins(0, self.lines - 1)).bottom, self.index)

    def scroll_down(self, lines=None):
        self._scroll(lines, (self.margins or pyte.screens.Margins(0, self.lines - 1)).top, self.reverse_index)

    def _scroll(self, lines, line, scroll):
        before, self.cursor.y = self.cursor.y, line
        for _ in range(lines or 1):
            scroll()
        self.cursor.y = before

    @staticmethod
    def _is_colour(attributes, index):
        """Whether a code belongs to a colour of several codes: 38;5;N or 38;2;R;G;B."""
        i = 0
        while i < len(attributes):
            if attributes[i] in (38, 48) and i + 1 < len(attributes):
                length = {5: 3, 2: 5}.get(attributes[i + 1], 2)
                if i <= index < i + length:
                    return True
                i += length
            else:
                if i == index:
                    return False
                i += 1
        return False


class Stream(pyte.ByteStream):
    csi = {**pyte.ByteStream.csi, "S": "scroll_up", "T": "scroll_down"}
    events = pyte.ByteStream.events | {"scroll_up", "scroll_down"}


class Terminal:
    """A program on a terminal. A context: at its end the program is killed if it did not end by itself."""

    def __init__(self, command, columns, lines, environment, term=TERM):
        self.screen = Screen(columns, lines)
        self.stream = Stream(self.screen)
        self.status = None  # exit code, or minus the signal; None while it runs
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(command[0], command, {**environment, "TERM": term, "LC_ALL": "C.UTF-8"})
            finally:
                os._exit(127)
        self.resize(columns, lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)
            self.run_for(3, until=lambda: self.status is not None)
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._reap(0)
        os.close(self.fd)

    def _reap(self, options):
        if self.status is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)

    def resize(self, columns, lines):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    @property
    def text(self):
        return "\n".join(self.screen.display)

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def run_for(self, seconds, until=lambda: False):
        """Lets the program run; returns whether `until` came true before the time was over."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            if not select.select([self.fd], [], [], min(left, 0.05))[0]:
                self._reap(os.WNOHANG)
                continue
            try:
                self.stream.feed(os.read(self.fd, 65536))
            except OSError:  # the program has closed its terminal
                self._reap(0)
                return until()
        return True

    def wait_for_end(self, seconds=60):
        """Until the program has ended; returns its exit code, or minus the signal that ended it."""
        if not self.run_for(seconds, until=lambda: self.status is not None):
            raise TimeoutError(f"it does not end, and this is shown:\n{self.text}")
        return self.status

    def wait_for(self, wanted, seconds=60):
        """Until a text is on the screen."""
        if not self.run_for(seconds, until=lambda: wanted in self.text):
            raise TimeoutError(f"waited for {wanted!r}, and this was shown:\n{self.text}")


# ---------------------------------------------------------------------------------------------------- colours

NAMES = ["black", "red", "green", "brown", "blue", "magenta", "cyan", "white"]
THEMES = {
    "dark": {
        "background": "#12161c", "foreground": "#d5dae1", "frame": "#2a313b", "bar": "#1b212a", "title": "#8d97a5",
        "palette": ["#2a313b", "#f0616d", "#7cc36e", "#e5b454", "#5aa7f5", "#c58af0", "#4cc3cf", "#d5dae1",
                    "#66707d", "#ff8a93", "#a0dd92", "#ffd37a", "#8cc4ff", "#dcb2ff", "#7fe0ea", "#ffffff"],
    },
    "light": {
        "background": "#ffffff", "foreground": "#24292f", "frame": "#d0d7de", "bar": "#f3f5f7", "title": "#57606a",
        "palette": ["#24292f", "#c62836", "#1a7f37", "#9a6700", "#0b62cf", "#8131c9", "#0e7a86", "#6e7781",
                    "#57606a", "#a40e26", "#116329", "#7d4e00", "#0a4da3", "#6320a3", "#0b5f69", "#24292f"],
    },
}


def colour(name, theme, default):
    """pyte's word for a colour as SVG's: "default", a name, "brightred", or six hexadecimal digits."""
    if name == "default":
        return theme[default]
    # pyte 0.8 spells one of them "bfightmagenta".
    bright = name.startswith(("bright", "bfight"))
    plain = name.removeprefix("bright").removeprefix("bfight").replace("yellow", "brown")
    if plain in NAMES:
        return theme["palette"][NAMES.index(plain) + (8 if bright else 0)]
    return f"#{name}"


def mixed(one, other, part):
    """`part` of one colour, the rest of the other."""
    channels = [(int(one[i:i + 2], 16), int(other[i:i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * part + b * (1 - part)):02x}" for a, b in channels)


# ----------------------------------------------------------------------------------------------------- shapes

WIDTH, HEIGHT = 8.4, 18.0  # of a cell
FONT_SIZE = 14
PADDING, TITLE_HEIGHT = 14, 30

QUADRANTS = {0x2596: "c", 0x2597: "d", 0x2598: "a", 0x2599: "acd", 0x259A: "ad", 0x259B: "abc", 0x259C: "abd",
             0x259D: "b", 0x259E: "bc", 0x259F: "bcd"}


def number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


def blocks(code):
    """Rectangles of a block element, in parts of a cell: (x, y, width, height, opacity)."""
    if code == 0x2580:
        return [(0, 0, 1, 0.5, 1)]
    if 0x2581 <= code <= 0x2588:
        part = (code - 0x2580) / 8
        return [(0, 1 - part, 1, part, 1)]
    if 0x2589 <= code <= 0x258F:
        return [(0, 0, (0x2590 - code) / 8, 1, 1)]
    if code == 0x2590:
        return [(0.5, 0, 0.5, 1, 1)]
    if 0x2591 <= code <= 0x2593:
        return [(0, 0, 1, 1, (code - 0x2590) / 4)]
    if code == 0x2594:
        return [(0, 0, 1, 0.125, 1)]
    if code == 0x2595:
        return [(0.875, 0, 0.125, 1, 1)]
    corners = {"a": (0, 0), "b": (0.5, 0), "c": (0, 0.5), "d": (0.5, 0.5)}
    return [(*corners[letter], 0.5, 0.5, 1) for letter in QUADRANTS.get(code, "")]


def box_lines(character):
    """Of a box drawing character: the sides that it reaches, and how thick it is; None for any other."""
    name = unicodedata.name(character, "")
    if not name.startswith("BOX DRAWINGS ") or "DIAGONAL" in name:
        return None
    sides = set()
    for word, found in (("HORIZONTAL", "lr"), ("VERTICAL", "ud"), ("UP", "u"), ("DOWN", "d"), ("LEFT", "l"),
                        ("RIGHT", "r")):
        if word in name.split():
            sides.update(found)
    return sides, 2.4 if "HEAVY" in name or "DOUBLE" in name else 1.1


class Drawing:
    """Shapes and characters of one screen, put together where neighbours are alike."""

    def __init__(self):
        self.parts = []
        self.run = None  # rectangle that may still grow: [x, y, width, height, fill, opacity]

    def rectangle(self, x, y, width, height, fill, opacity=1.0):
        run = self.run
        if run and abs(run[0] + run[2] - x) < 0.01 and run[1] == y and run[3:] == [height, fill, opacity]:
            run[2] += width
            return
        self.flush()
        self.run = [x, y, width, height, fill, opacity]

    def flush(self):
        if self.run:
            x, y, width, height, fill, opacity = self.run
            more = f' fill-opacity="{number(opacity)}"' if opacity != 1 else ""
            self.parts.append(f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" '
                              f'height="{number(height)}" fill="{fill}"{more}/>')
            self.run = None

    def add(self, part):
        self.flush()
        self.parts.append(part)

    def shape(self, character, x, y, ink):
        """Draws what is no letter. Returns False if it is one."""
        code = ord(character[0])
        if 0x2580 <= code <= 0x259F:
            for left, top, width, height, opacity in blocks(code):
                self.rectangle(x + left * WIDTH, y + top * HEIGHT, width * WIDTH, height * HEIGHT, ink, opacity)
            return True
        if 0x2800 <= code <= 0x28FF:
            for bit, (column, row) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]):
                if code & (1 << bit):
                    self.add(f'<circle cx="{number(x + WIDTH * (0.27 + 0.46 * column))}" '
                             f'cy="{number(y + HEIGHT * (0.14 + 0.24 * row))}" r="1.35" fill="{ink}"/>')
            return True
        lines = box_lines(character[0])
        if lines is None:
            return False
        sides, thick = lines
        middle_x, middle_y = x + WIDTH / 2, y + HEIGHT / 2
        if sides & {"l", "r"}:
            begin = x if "l" in sides else middle_x - thick / 2
            end = x + WIDTH if "r" in sides else middle_x + thick / 2
            self.rectangle(begin, middle_y - thick / 2, end - begin, thick, ink)
        if sides & {"u", "d"}:
            begin = y if "u" in sides else middle_y - thick / 2
            end = y + HEIGHT if "d" in sides else middle_y + thick / 2
            self.rectangle(middle_x - thick / 2, begin, thick, end - begin, ink)
        return True


def svg(screen, theme_name, title):
    """The screen as an SVG document."""
    theme = THEMES[theme_name]
    width = 2 * PADDING + screen.columns * WIDTH
    height = TITLE_HEIGHT + 2 * PADDING + screen.lines * HEIGHT
    drawing = Drawing()
    texts = []
    for row in range(screen.lines):
        y = TITLE_HEIGHT + PADDING + row * HEIGHT
        letters = []  # (column, character, ink, bold)
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            x = PADDING + column * WIDTH
            ink = colour(cell.fg, theme, "foreground")
            paper = colour(cell.bg, theme, "background")
            if cell.bold and cell.fg in NAMES:
                ink = theme["palette"][NAMES.index(cell.fg) + 8]
            if cell.reverse:
                ink, paper = paper, ink
            if cell.italics:  # dim
                ink = mixed(ink, paper, 0.6)
            if paper != theme["background"]:
                drawing.rectangle(x, y, WIDTH, HEIGHT, paper)
            # The second half of a wide character has no text of its own.
            if cell.data.strip() and not drawing.shape(cell.data, x, y, ink):
                letters.append((column, cell.data, ink, cell.bold))
            if cell.underscore:
                drawing.rectangle(x, y + HEIGHT - 2, WIDTH, 1, ink)
        drawing.flush()
        texts += text_runs(letters, y)
    dots = "".join(f'<circle cx="{PADDING + 6 + 18 * i}" cy="{TITLE_HEIGHT / 2:g}" r="5" fill="{theme["frame"]}"/>'
                   for i in range(3))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" height="{number(height)}" '
        f'viewBox="0 0 {number(width)} {number(height)}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect x="0.5" y="0.5" width="{number(width - 1)}" height="{number(height - 1)}" rx="9" '
        f'fill="{theme["background"]}" stroke="{theme["frame"]}"/>',
        f'<path d="M1 {TITLE_HEIGHT} V9.5 A8.5 8.5 0 0 1 9.5 1 H{number(width - 9.5)} '
        f'A8.5 8.5 0 0 1 {number(width - 1)} 9.5 V{TITLE_HEIGHT} Z" fill="{theme["bar"]}"/>',
        dots,
        '<g font-family="ui-monospace,\'DejaVu Sans Mono\',Menlo,Consolas,\'Liberation Mono\',monospace">',
        f'<text x="{number(width / 2)}" y="{TITLE_HEIGHT / 2 + 4.5:g}" text-anchor="middle" font-size="13" '
        f'fill="{theme["title"]}">{escape(title)}</text>',
        '<g shape-rendering="crispEdges">', *drawing.parts, "</g>",
        f'<g font-size="{FONT_SIZE}">', *texts, "</g>", "</g>", "</svg>", ""])


def text_runs(letters, y):
    """Characters of a line as SVG: one element for neighbours in the same ink, as wide as their cells."""
    runs = []
    for column, character, ink, bold in letters:
        cells = max(1, sum(map(wcwidth.wcwidth, character)))
        if runs and runs[-1][3:] == [ink, bold] and runs[-1][0] + runs[-1][1] == column:
            runs[-1][1] += cells
            runs[-1][2] += character
        else:
            runs.append([column, cells, character, ink, bold])
    for column, cells, text, ink, bold in runs:
        weight = ' font-weight="bold"' if bold else ""
        yield (f'<text x="{number(PADDING + column * WIDTH)}" y="{number(y + 13.2)}" '
               f'textLength="{number(cells * WIDTH)}" fill="{ink}"{weight}>{escape(text)}</text>')
