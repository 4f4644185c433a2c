# SPDX-License-Identifier: Apache-2.0
"""Every subcommand and every option that --help names, with arguments that are wrong."""

import re
import subprocess

import pytest
from conftest import COMMAND

# What is no value for options of this kind, by the name that --help gives their values.  Others take any text.
NO_VALUES = {
    "PID": ["x", "-1", "", "99999999999999999999", "1.5"], "N": ["x", "", "1.5"], "SECONDS": ["x", "0", "-1", "nan", "1e9"],
    "ORDER": ["colour", ""], "STATE": ["asleep", ""], "WHAT": ["colour"], "OPERATION": ["dance", "alloc,dance"],
    "LEVEL": ["sea", "process"], "WHEN": ["tomorrow", ""], "REGEX": ["(", "[a"], "DURATION": ["x", "-1", "1x", "nan"],
    "SEED": ["x", "-1"], "S": ["x", "-1"], "K": ["0", "x"], "EVENTS": ["0", "x"], "KIND": [],
}


# Options that take more than the name of their value says; test_command.py has theirs.
OTHERS = {"--speed", "--threads"}


def help_of(*arguments):
    return subprocess.run([COMMAND, *arguments, "--help"], capture_output=True, text=True, check=True).stdout


def subcommands():
    if not COMMAND.exists():
        return []
    section = help_of().split("Subcommands:")[1]
    return re.findall(r"^  ([a-z]+) ", section, re.MULTILINE)


def options_of(name):
    """(option, name of its value or "", whether the value may be left out)."""
    for line in help_of(name).splitlines():
        match = re.match(r"  (?:-\w,)?(--[a-z-]+)(?: (\[)?([A-Z]+)(?![a-z]))?", line)
        if match and match[1] != "--help":
            yield match[1], match[3] or "", bool(match[2])


def cases():
    for name in subcommands():
        yield [name, "--no-such-option"]
        if name != "run":  # takes a command with any arguments
            yield [name, "one-argument", "too-many"]
        for option, value, optional in options_of(name):
            if option in OTHERS:
                continue
            if not value:
                yield [name, f"{option}=something"]
                continue
            if not optional:
                yield [name, option]
            for wrong in NO_VALUES.get(value, []):
                yield [name, f"{option}={wrong}"]


CASES = list(cases())


def test_there_is_something_to_test():
    if not COMMAND.exists():
        pytest.skip("there is no memtally command; build it, or set MEMTALLY_BUILD_DIR")
    assert {"ps", "buffers", "devices", "leaks", "tags", "events", "snapshot", "replay"} <= set(subcommands())
    assert len(CASES) > 150


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_wrong_arguments(memtally, arguments):
    done = memtally.run(*arguments, code=2, timeout=20)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("memtally: ") and len(lines) == 2, done.stderr
    assert re.fullmatch(rf"Try 'memtally( {arguments[0]}( [a-z]+)?)? --help'\.", lines[1]), done.stderr
    if "=" in arguments[-1]:
        assert arguments[-1].split("=")[0] in lines[0], "the option is named"


@pytest.mark.parametrize("name", subcommands())
def test_help_fits_a_terminal(name):
    assert max(map(len, help_of(name).splitlines())) <= 140
