# SPDX-License-Identifier: Apache-2.0
"""The command line of memtally: wrong arguments, help, closed pipes, and shell completion."""

import os
import re
import subprocess
import time

import pytest
from conftest import BUILD_DIR, COMMAND, ROOT

VIEWS = ["ps", "buffers", "devices", "leaks", "tags", "events", "snapshot", "oom", "clash"]
SUBCOMMANDS = ["top", *VIEWS, "channels", "run", "doctor", "monitor", "replay", "demo"]

WRONG = [
    ["nonsense"], ["--nonsense"], ["ps", "extra"], ["ps", "--nonsense"], ["ps", "buffers"], ["ps", "--json=maybe"],
    ["buffers", "extra"], ["buffers", "--pid"], ["buffers", "--pid", "x"], ["buffers", "--pid", "-1"],
    ["buffers", "--pid", "1", "--all"], ["buffers", "--pid", "1", "--ledger", "x"], ["buffers", "--ledger"],
    ["buffers", "--ledger", "x", "--all"], ["buffers", "--device", "x"], ["buffers", "--sort", "colour"],
    ["buffers", "--limit", "many"], ["buffers", "--limit", "-1"], ["buffers", "--tag", "("], ["buffers", "--kind"],
    ["replay"], ["replay", "a", "b"], ["replay", "a", "--speed", "fast"], ["replay", "a", "--speed", "0"],
    ["replay", "a", "--speed", "-1"], ["replay", "a", "--speed", "nan"], ["replay", "a", "--speed"],
    ["replay", "a", "--processes", "0"], ["replay", "a", "--processes", "x"], ["replay", "a", "--kill-after", "0"],
    ["replay", "a", "--kill-after", "1", "--random-kill", "1"], ["replay", "a", "--kill-after", "1", "--hold"],
    ["replay", "a", "--random-kill", "x"], ["replay", "a", "--repeat", "3"], ["replay", "a", "--device-id", "x"],
    ["replay", "a", "--random-kill", "1", "--processes", "2"], ["replay", "--threads", "a", "b"],
    ["replay", "a", "--events", "3"], ["replay", "a", "--seed", "3"], ["replay", "a", "-o", "x"],
    ["replay", "--generate", "churn"], ["replay", "--generate", "poems", "-o", "x"],
    ["replay", "--generate", "churn", "-o", "x", "--check"], ["replay", "a", "--generate", "churn", "-o", "x"],
    ["replay", "--generate", "churn", "-o", "x", "--events", "0"],
    ["replay", "--generate", "churn", "-o", "x", "--threads", "0"],
    ["replay", "--generate", "churn", "-o", "x", "--threads"],
    ["replay", "--generate", "cross-thread-frees", "-o", "x", "--threads", "1"],
    ["replay", "a", "--loop", "--check"], ["replay", "a", "--loop", "--hold"], ["replay", "a", "--device-index", "-1"],
    ["replay", "a", "--loop", "--kill-after", "1"], ["replay", "--generate", "churn", "-o", "x", "--loop"],
    ["replay", "a", "--device-id", "-1"], ["replay", "a", "--random-kill", "-1"], ["replay", "a", "--kill-after", "-1"],
    ["replay", "--generate", "churn", "-o", "x", "--seed", "-1"],
    ["replay", "--generate", "churn", "-o", "x", "--events", "-1"],
    ["top", "x"], ["top", "--nonsense"], ["top", "-r"], ["top", "-r", "x"], ["top", "-r", "49"], ["top", "-r", "-1"],
    ["top", "--refresh", "3600001"], ["top", "-d", "x"], ["top", "-d"], ["top", "--frames", "0"], ["top", "--frames", "-1"],
    ["demo", "x"], ["demo", "--seconds"], ["demo", "--seconds", "x"], ["demo", "--seconds", "0"],
    ["demo", "--seconds", "9", "--fast"], ["demo", "--seconds", "nan"], ["demo", "--nonsense"],
    ["doctor", "x"], ["doctor", "--nonsense"], ["run"], ["run", "--"], ["run", "ls"], ["run", "--nonsense", "--", "ls"], ["run", "--limit", "x", "--", "ls"],
    ["run", "\x1b[31m\u202e"], ["run", "--limit", "\x1b[31m\u202e", "--", "ls"], ["ps", "\x1b[31m\u202e"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=range(len(WRONG)))
def test_wrong_arguments(memtally, arguments):
    done = memtally.run(*arguments, code=2)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    chosen = arguments[0] if arguments[0] in SUBCOMMANDS else ""
    assert lines[0].startswith("memtally: ") and len(lines[0]) > len("memtally: ") + 10
    assert lines[-1].startswith("Try 'memtally") and lines[-1].endswith(" --help'.")
    assert not chosen or chosen in lines[-1]
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr


def test_alone_it_says_what_to_try(memtally):
    def proposed(done):
        assert done.stderr == ""
        return set(re.findall(r"^  memtally ([a-z]+)", done.stdout, re.MULTILINE))

    done = memtally.run()
    assert "No process is tracked here now." in done.stdout
    assert {"demo", "replay", "ps"} <= proposed(done)
    memtally.run("replay", "leak-until-oom-n150")
    done = memtally.run()
    assert "1 process held device memory when it ended: 11.9 GiB." in done.stdout
    assert {"ps", "buffers"} <= proposed(done) and "demo" not in proposed(done)
    (memtally.folder / "memtally-0-1-0123456789abcdef0123456789abcdef.ledger").write_bytes(os.urandom(8192))
    assert "1 ledger could not be read" in memtally.run().stdout


def test_what_was_meant(memtally):
    for typed, meant in ((["buffer"], "buffers"), (["pss"], "ps"), (["rep"], "replay"), (["ps", "--jsno"], "--json"),
                         (["buffers", "--limt=3"], "--limit"), (["ps", "--colour=never"], "--color")):
        assert f"Did you mean '{meant}'?" in memtally.run(*typed, code=2).stderr
    for typed in (["nonsense"], ["ps", "--xyzzy"], ["ps", "buffers"], ["x" * 100000]):
        assert "Did you mean" not in memtally.run(*typed, code=2).stderr


def test_help_of_each_subcommand_says_how_it_is_called(memtally):
    assert "Usage: memtally [OPTIONS] [SUBCOMMAND]\n" in memtally.run("--help").stdout
    for name in [*SUBCOMMANDS, "bench events", "bench channels"]:
        assert f"Usage: memtally {name} [OPTIONS]" in memtally.run(*name.split(), "--help").stdout
        done = memtally.run(*name.split(), "--nonsense", code=2)
        assert done.stderr.endswith(f"Try 'memtally {name} --help'.\n")


def test_version(memtally):
    version = re.search(r"project\(memtally VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert memtally.run("--version").stdout == f"memtally {version}\n"
    assert f'"memtally {version}"' in (ROOT / "docs" / "man" / "memtally.1").read_text()


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_man_page_and_completion_agree(memtally, name):
    text = memtally.run(name, "--help").stdout
    assert "Exit codes: 0 success" in text and "3 a check found a difference" in text
    man = (ROOT / "docs" / "man" / "memtally.1").read_text().replace("\\-", "-")
    completion = (ROOT / "completions" / "memtally.bash").read_text()
    options = set(re.findall(r"--[a-z-]+", text)) - {"--help"}
    assert len(options) >= {"doctor": 1, "channels": 2}.get(name, 3)
    for option in options:
        assert option in man, option
        assert re.search(rf"{option}(?![a-z-])", completion), option


def test_man_page_is_well_formed():
    try:
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", ROOT / "docs" / "man" / "memtally.1"],
                              capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no groff")
    text = re.sub(b".\x08", b"", done.stdout)  # bold
    assert done.returncode == 0 and done.stderr == b"" and b"EXIT STATUS" in text


def test_closed_pipe(memtally):
    memtally.run("replay", "leak-until-oom-n150")
    for arguments in (["buffers", "--limit", "0"], ["buffers", "--json"], ["ps", "--json"]):
        for ignored in (False, True):  # as shells start it, and as some programs do
            reader, writer = os.pipe()
            os.close(reader)
            process = subprocess.run([COMMAND, *arguments], stdout=writer, stderr=subprocess.PIPE,
                                     env=memtally.environment, restore_signals=not ignored, check=False)
            os.close(writer)
            assert process.stderr == b""
            assert process.returncode == (1 if ignored else -13)


def test_full_disk(memtally):
    memtally.run("replay", "leak-until-oom-n150")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([COMMAND, "buffers"], stdout=full, stderr=subprocess.PIPE, env=memtally.environment,
                              check=False)
    assert done.returncode == 1 and b"cannot write the result: No space left on device" in done.stderr
    done = memtally.run("replay", "--generate", "churn", "--events", 100000, "-o", "/dev/full", code=1)
    assert "/dev/full: cannot be written: No space left on device" in done.stderr
    done = memtally.run("replay", "--generate", "churn", "-o", "/nowhere/x", code=1)
    assert "/nowhere/x: No such file" in done.stderr


def test_output_is_plain_text(memtally):
    memtally.run("replay", "leak-until-oom-n150")
    for arguments in (["ps"], ["buffers"], ["--help"], []):
        assert "\x1b" not in memtally.run(*arguments).stdout


def complete(memtally, line):
    script = f"""
        source {ROOT}/completions/memtally.bash
        COMP_WORDS=({line} "$LAST") COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _memtally
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    *words, last = line.split(" ")
    script = script.replace(line, " ".join(words), 1)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False,
                          env={**memtally.environment, "LAST": last, "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
                               "MEMTALLY_TRACES": str(ROOT / "share" / "traces")})
    assert done.stderr == ""
    return done.stdout.split()


def test_completion(memtally):
    assert complete(memtally, "memtally bu") == ["buffers"]
    assert complete(memtally, "memtally ps --j") == ["--json"]
    assert complete(memtally, "memtally replay llama-1b-n") == ["llama-1b-n150"]
    assert complete(memtally, "memtally buffers --sort a") == ["age", "address"]
    memtally.run("replay", "mesh-n300", "--kill-after", 10)
    [process] = memtally.json("ps")["processes"]
    assert complete(memtally, "memtally buffers --pid ") == [str(process["pid"])]
