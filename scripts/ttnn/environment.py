#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The published TT-NN package in an environment of its own, and programs on it without hardware.

    environment.py setup [--version V]                         make it (once); prints the folder
    environment.py run [--version V] [--board B] -- PROGRAM... run `python PROGRAM...` on a mock board

Needs CPython 3.12 or 3.10 on PATH or among the versions of pyenv, the network for the first time, and the Debian
package binutils-riscv64-unknown-elf. Exit status 77: there is no such Python. The environments lie in build/ttnn/, or
in MEMTALLY_TTNN_DIR, one folder a version.

The allocator, the programs and their caches are the real ones. Only the device's input and output are left out: tt-metal
calls that a mock cluster. Kernels are not compiled, since nothing runs them: a stand-in for the compiler writes an empty
program in their place.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NEWEST = "0.81.1"
BOARDS = {path.stem: path for path in sorted((HERE / "boards").glob("*.yaml"))}
PYTHONS = ("3.12", "3.10")
NO_PYTHON = 77
RECIPE = 1  # to be raised when an environment has to be made anew


class SetupError(Exception):
    """The environment could not be made; says why and what to do."""


class NoPython(SetupError):
    """No CPython that the package is published for."""


def works(python):
    """Whether this is a CPython of a published version that can make environments. (pyenv's shims may be neither.)"""
    check = f"import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] not in {PYTHONS!r})"
    try:
        return subprocess.run([python, "-c", check], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_python():
    """The Python to use, the newest first. Raises NoPython."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in PYTHONS:
        candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]
        for candidate in candidates:
            if candidate and works(candidate):
                return Path(candidate)
    raise NoPython(f"no CPython {' or '.join(PYTHONS)} on PATH or in {pyenv}, and TT-NN is published for these alone")


class TtnnEnvironment:
    """One version of the package with all that a mock board needs."""

    def __init__(self, version=NEWEST):
        self.version = version
        base = os.environ.get("MEMTALLY_TTNN_DIR")
        self.folder = (Path(base) if base else ROOT / "build" / "ttnn").absolute() / version
        self.python = self.folder / "venv" / "bin" / "python"

    def package(self):
        """The folder of the installed package."""
        found = list(self.folder.glob("venv/lib/python3.*/site-packages/ttnn"))
        if len(found) != 1:
            raise SetupError(f"ttnn {self.version} is not installed in {self.folder}")
        return found[0]

    def libraries(self):
        """The folder with libtt_metal.so."""
        return self.package() / "build" / "lib"

    def setup(self):
        """Makes the environment unless it is there; processes that ask at the same time wait for each other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder.parent / f".{self.version}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stamp = self.folder / "stamp"
            recipe = hashlib.sha256()
            for path in (HERE / "requirements.txt", HERE / "compiler.sh"):
                recipe.update(path.read_bytes())
            wanted = f"{RECIPE} {recipe.hexdigest()} {self.folder}\n"
            if self.python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
                return self
            python = find_python()
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            self.install(python)
            self.install_compiler()
            stamp.write_text(wanted, encoding="utf-8")
        return self

    def install(self, python):
        run([python, "-m", "venv", self.folder / "venv"], f"cannot make a virtual environment with {python}")
        run([self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
             "--constraint", HERE / "requirements.txt", f"ttnn=={self.version}"],
            f"cannot install ttnn {self.version} with {python}; is the network there?")

    def install_compiler(self):
        """Puts the stand-in where the package looks for its compiler, with the version that its firmware was made by."""
        tools = {name: shutil.which(f"riscv64-unknown-elf-{name}") for name in ("as", "ld")}
        if not all(tools.values()):
            raise SetupError("no riscv64-unknown-elf-as: apt-get install binutils-riscv64-unknown-elf")
        package = self.package()
        text = (package / "tt_metal" / "sfpi-version").read_text(encoding="utf-8")
        words = dict(re.findall(r"^(\w+)='([^']*)'", text, re.MULTILINE))
        answer = f"riscv-tt-elf-g++ (tenstorrent/sfpi:{words['sfpi_version']}[{words['sfpi_build']}]) 15.1.0"
        folder = package / "runtime" / "sfpi" / "compiler" / "bin"
        folder.mkdir(parents=True)
        start = folder / "start.o"
        source = ".option norelax\n.text\n.globl _start\n_start: la a0, word\nret\n.data\nword: .word 0\n"
        run([tools["as"], "-march=rv32im", "-mabi=ilp32", "-o", start, "-"], "cannot assemble", input=source.encode())
        script = (HERE / "compiler.sh").read_text(encoding="utf-8")
        script = script.replace("@VERSION@", answer).replace("@LD@", tools["ld"]).replace("@START@", str(start))
        compiler = folder / "riscv-tt-elf-g++"
        compiler.write_text(script, encoding="utf-8")
        compiler.chmod(0o755)

    def variables(self, board="n150"):
        """The environment for a program on that mock board."""
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("TT_", "TTNN_", "OMPI_", "PMIX_"))}
        # Variables of a virtual environment or of Python itself would mix two installations.
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            variables.pop(name, None)
        variables.update(
            TT_METAL_MOCK_CLUSTER_DESC_PATH=str(BOARDS[board]),
            TT_METAL_CACHE=str(self.folder / "cache") + "/",
            TT_METAL_LOGS_PATH=str(self.folder / "logs"),
            TT_LOGGER_LEVEL="error",
            LOGURU_LEVEL="ERROR",
            TT_METAL_SHM_TRACKING_DISABLED="1",
            # No other process is talked to. Without these each start leaves 16 MiB in /dev/shm.
            OMPI_MCA_btl="self",
            OMPI_MCA_btl_sm_backing_directory=str(self.folder / "logs"),
        )
        if board == "n300" or tuple(map(int, self.version.split("."))) < (0, 75):
            variables["TT_METAL_SLOW_DISPATCH_MODE"] = "1"  # fast dispatch has no mock of a mesh, old ones none at all
        (self.folder / "logs").mkdir(exist_ok=True)
        return variables


def run(command, what, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          **options)
    if done.returncode != 0:
        raise SetupError(f"{what}:\n{done.stdout.decode(errors='replace').strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("command", choices=("setup", "run"))
    parser.add_argument("--version", default=NEWEST, help=f"of the package; {NEWEST} if not given")
    parser.add_argument("--board", default="n150", choices=sorted(BOARDS))
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options, program = parser.parse_args(words[:cut]), words[cut + 1 :]
    if (options.command == "run") != bool(program):
        parser.error("run needs a program behind --, and setup takes none")
    environment = TtnnEnvironment(options.version)
    try:
        environment.setup()
    except NoPython as error:
        print(f"SKIP: {error}", file=sys.stderr)
        return NO_PYTHON
    except SetupError as error:
        print(f"environment.py: {error}", file=sys.stderr)
        return 1
    if options.command == "setup":
        print(environment.folder)
        return 0
    sys.stdout.flush()
    os.execve(environment.python, [str(environment.python), *program], environment.variables(options.board))


if __name__ == "__main__":
    sys.exit(main())
