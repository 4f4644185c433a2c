# SPDX-License-Identifier: Apache-2.0
"""memtallyd, run with sockets of its own."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from conftest import BUILD_DIR

DAEMON = BUILD_DIR / "src" / "daemon" / "memtallyd"
PATIENCE = 60


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.01)
    return result


class Daemon:
    """Started on entry; stopped, if it still runs, on exit. `log` has its log after stop()."""

    def __init__(self, folder, settings="", environment=None):
        self.folder = Path(folder)
        self.socket = self.folder / "legacy.sock"
        self.settings = self.folder / "memtallyd.toml"
        self.settings.write_text(settings)
        self.environment = {**(environment or os.environ), "MEMTALLY_DIR": str(folder)}
        self.process = None
        self.log = ""

    def start(self):
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen([DAEMON, "--foreground", "--config", self.settings, "--socket", self.socket],
                                        stderr=self.output, env=self.environment)
        wait_until(lambda: "readers ask" in self.log_so_far() or self.process.poll() is not None, "the server")
        return self

    def log_so_far(self):
        return os.pread(self.output.fileno(), 1 << 24, 0).decode()

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.log = self.log_so_far()
        return code

    def __enter__(self):
        self.start()
        assert self.process.poll() is None, self.log_so_far()
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.stop()
