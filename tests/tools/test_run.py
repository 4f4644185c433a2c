# SPDX-License-Identifier: Apache-2.0
"""memtally run: what it finds out, what it returns, and that the command does not notice it."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import BUILD_DIR, COMMAND, ROOT
from document_schemas import validate

MIB = 1 << 20
PATIENCE = 60


def await_that(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def compile_program(tmp_path_factory):
    """Compiles C with the tracker's header; each set of options once."""
    folder = tmp_path_factory.mktemp("programs")
    made = {}

    def compile_it(*options, source=ROOT / "tests" / "tools" / "tracked_program.c", compiler="cc"):
        key = (options, source, compiler)
        if key not in made:
            path = folder / f"program{len(made)}"
            done = subprocess.run([compiler, "-I", ROOT / "include", source, "-o", path, *options],
                                  capture_output=True, text=True, check=False)
            made[key] = path if done.returncode == 0 else done.stderr
        if isinstance(made[key], str):
            pytest.skip(f"cannot be compiled here: {made[key].splitlines()[-1] if made[key] else compiler}")
        return made[key]

    return compile_it


@pytest.fixture
def program(compile_program):
    return compile_program()


class Launch:
    """A `memtally run`, with its report."""

    def __init__(self, memtally, tmp_path):
        self.memtally, self.report_path = memtally, tmp_path / "report.json"

    def __call__(self, *command, options=(), code=0, **environment):
        done = self.memtally.run("run", "--report", self.report_path, *options, "--", *command, code=code, **environment)
        self.done = done
        self.report = validate(json.loads(self.report_path.read_text()))
        assert self.report["exit_code"] == done.returncode
        return self.report

    def place(self, name, is_memory=False):
        [place] = [p for p in self.report["places"] if p["name"] == name and p["is_memory"] == is_memory]
        return place


@pytest.fixture
def launch(memtally, tmp_path):
    return Launch(memtally, tmp_path)


def held(moment):
    """What a moment says, by tag."""
    return {share["tag"]: share["held"]["bytes_reserved"] for share in moment["shares"]}


def test_peaks_of_a_clean_exit(launch, program, memtally):
    report = launch(program, "device", 1, "kind", "dram", 64 * MIB, "push", "load", "alloc", 1, 4 * MIB, "pop", "push",
                    "step", "alloc", 2, 8 * MIB, "free", 2, "alloc", 3, 2 * MIB, "pop", "free", 1, "free", 3)
    assert report["tracked"] and report["command_exit_code"] == 0
    dram = launch.place("dram")
    assert (dram["peak_bytes_reserved"], dram["peak_bytes_requested"]) == (12 * MIB, 12 * MIB)
    assert dram["peak_bytes_reserved_slack"] == 0
    assert dram["capacity_bytes"] == 64 * MIB
    assert dram["allocated"] == dram["freed"] == {"count": 3, "bytes_requested": 14 * MIB, "bytes_reserved": 14 * MIB}
    assert dram["live"]["count"] == dram["left"]["count"] == 0
    assert dram["at_peak"]["exact"]
    assert held(dram["at_peak"]) == {"step": 8 * MIB, "load": 4 * MIB}
    assert memtally.ledgers() == []
    lines = launch.done.stderr.splitlines()
    assert lines[0].endswith("1 process tracked") and ": exit code 0 after " in lines[0]
    assert lines[2].split() == ["1:one", "dram", "12.0", "MiB", "18.8", "12.0", "MiB", "14.0", "MiB", "3", "0", "-"]
    assert launch.done.stdout == ""


def test_memory_of_several_kinds(launch, program):
    launch(program, "device", 1, "kind", "l1_small", 0, "alloc", 1, MIB, "kind", "l1", 8 * MIB, "alloc", 2, 3 * MIB, "kind",
           "l1_small", 0, "free", 1, "kind", "cb", 0, "alloc", 9, 50 * MIB, "close")
    memory = launch.place("l1", is_memory=True)
    assert memory["peak_bytes_reserved"] == 4 * MIB  # both kinds, and not the one that overlaps
    assert memory["capacity_bytes"] == 8 * MIB
    assert memory["at_peak"]["exact"]
    assert {share["kind"]: share["held"]["bytes_reserved"] for share in memory["at_peak"]["shares"]} == \
        {"l1": 3 * MIB, "l1_small": MIB}
    assert launch.place("cb")["overlaps"]
    assert [p["name"] for p in launch.report["places"] if p["is_memory"] and p["processes"]] == ["l1"]


@pytest.mark.parametrize("steps, code, own", [
    (["exit", 7], 7, (7, None)), (["die", signal.SIGKILL], 137, (None, 9)), (["die", signal.SIGSEGV], 139, (None, 11)),
    (["exit", 0], 0, (0, None)), (["exit", 255], 255, (255, None))])
def test_exit_codes(launch, program, steps, code, own):
    report = launch(program, "device", 1, "alloc", 1, 100, *steps, code=code)
    assert (report["command_exit_code"], report["command_signal"]) == own
    assert len(report["processes"]) == 1


def test_the_dead_are_evidence(launch, program, memtally):
    launch(program, "device", 1, "push", "model", "alloc", 1, MIB, "die", signal.SIGKILL, code=137)
    [process] = launch.report["processes"]
    assert not process["exited_normally"]
    assert [(left["tag"], left["held"]["count"]) for left in process["left"]] == [("model", 1)]
    assert len(memtally.ledgers()) == 1  # stays, for who wants to look closer
    assert "LEAKED" in launch.done.stderr


def test_leak_is_a_failed_check(launch, program):
    leak = ["device", 1, "alloc", 1, MIB]
    launch(program, *leak)
    report = launch(program, *leak, options=["--fail-on-leak"], code=3)
    assert [failed["check"] for failed in report["checks"]["failed"]] == ["leak"]
    assert "CHECK FAILED (leak): 1 buffer of 1 process was never given back: 1.0 MiB" in launch.done.stderr
    # What a close released is none, and the command's own code goes first.
    report = launch(program, *leak, "close", options=["--fail-on-leak"])
    assert [(r["held"]["count"], r["kind"]) for r in report["processes"][0]["released"]] == [(1, "dram")]
    report = launch(program, *leak, "exit", 5, options=["--fail-on-leak"], code=5)
    assert [failed["check"] for failed in report["checks"]["failed"]] == ["leak"]
    assert "CHECK FAILED (leak)" in launch.done.stderr


def test_suppressed_leaks(launch, memtally, program, tmp_path):
    known = tmp_path / "known"
    known.write_text("# weights\nload*\n")
    steps = ["device", 1, "push", "load weights", "alloc", 1, 3 * MIB, "pop", "alloc", 2, MIB]
    options = ["--fail-on-leak", "--suppressions", known]
    report = launch(program, *steps, "free", 2, options=options)
    assert [left["suppressed"] for left in report["processes"][0]["left"]] == [True]
    assert "suppressed leaks: 1 buffer, 3.0 MiB" in launch.done.stderr and "LEAKED" not in launch.done.stderr
    launch(program, *steps, options=options, code=3)
    assert "1 buffer of 1 process was never given back: 1.0 MiB" in launch.done.stderr
    launch(program, *steps, options=["--fail-on-leak"], code=3, MEMTALLY_LEAK_SUPPRESSIONS=str(known))
    assert "1.0 MiB" in launch.done.stderr.splitlines()[-1]
    known.write_text("load[\n")
    done = memtally.run("run", *options, "--", program, "say", "started", code=1)
    assert done.stdout == "" and str(known) in done.stderr


def test_limits(launch, program):
    steps = ["device", 1, "kind", "dram", 0, "alloc", 1, 2 * MIB, "kind", "l1", 0, "alloc", 2, MIB, "close"]
    launch(program, *steps, options=["--limit", "2MiB", "--limit", "1MiB:l1", "--limit", "0:trace"])
    report = launch(program, *steps, options=["--limit", "2097151", "--limit", "1MB:l1", "--limit", "1TiB:dram"], code=3)
    assert [failed["what"] for failed in report["checks"]["failed"]] == [
        "device 1:one, dram: the peak, 2.0 MiB reserved, is above the limit of 2097151",
        "device 1:one, l1: the peak, 1.0 MiB reserved, is above the limit of 1MB:l1"]


@pytest.mark.parametrize("steps, named", [
    (["free", 99], "unknown_free"), (["alloc", 1, 10, "alloc", 1, 10, "close"], "replaced"), (["fail", 10], "failed_allocation")])
def test_strict(launch, program, steps, named):
    launch(program, "device", 1, *steps)
    launch(program, "device", 1, *steps, options=["--strict"], code=3)
    assert f"CHECK FAILED (strict): anomaly {named}: 1 times" in launch.done.stderr


def test_strict_takes_what_is_usual(launch, program):
    launch(program, "device", 1, "alloc", 1, 10, "close", "free", 1, options=["--strict"])
    assert launch.report["anomalies"] == {"after_close": {"count": 1, "bytes_requested": 10}}


def test_nothing_tracked(launch, program, memtally):
    report = launch("/bin/echo", "hello")
    assert launch.done.stdout == "hello\n"
    assert not report["tracked"] and report["processes"] == report["places"] == []
    assert "nothing was tracked" in launch.done.stderr and "memtally/track.h" in launch.done.stderr
    launch("/bin/true", options=["--strict"], code=3)
    for name in ("MEMTALLY", "TT_ALLOC_TRACKING_ENABLED"):
        launch(program, "device", 1, "alloc", 1, 10, **{name: "0"})
        assert f"{name}=0 is set" in launch.done.stderr.split("nothing was tracked")[1]
        memtally.run("run", "--strict", "--", program, "say", "started", code=3, **{name: "0"})
    assert memtally.ledgers() == []


def test_quiet(memtally, program):
    done = memtally.run("run", "-q", "--", program, "device", 1, "alloc", 1, 10, "say", "x")
    assert (done.stdout, done.stderr) == ("x\n", "")
    done = memtally.run("run", "--quiet", "--limit", "1", "--", program, "device", 1, "alloc", 1, 10, code=3)
    assert len(done.stderr.splitlines()) == 1 and "CHECK FAILED (limit)" in done.stderr


def test_tree_whose_parents_die(launch, program):
    """A child of a child, whose parent is dead before it allocates."""
    report = launch(program, "device", 1, "fork", "alloc", 1, MIB, "fork", "sleep", 50, "alloc", 2, 2 * MIB, "free", 2, "touch",
                    f"{launch.report_path}.done", "end", "free", 1, "end", "await", f"{launch.report_path}.done", "alloc", 3, 10,
                    "free", 3)
    assert len(report["processes"]) == 3
    pids = {process["pid"]: process["parent_pid"] for process in report["processes"]}
    assert sum(parent in pids for parent in pids.values()) >= 1
    peaks = sorted(account["peak_bytes_reserved"] for process in report["processes"] for account in process["accounts"])
    assert peaks == [10, MIB, 2 * MIB]
    assert launch.memtally.ledgers() == []


def test_processes_one_after_the_other_do_not_add_up(launch, program):
    script = " && ".join([f"{program} device 1 alloc 1 {size * MIB} free 1" for size in (3, 5, 4)])
    launch("/bin/sh", "-c", script)
    dram = launch.place("dram")
    assert dram["processes"] == 3
    assert (dram["peak_bytes_reserved"], dram["peak_bytes_reserved_slack"]) == (5 * MIB, 0)
    assert dram["at_peak"]["exact"] and held(dram["at_peak"]) == {"": 5 * MIB}


def test_processes_at_once_add_up(launch, program, tmp_path):
    """Both hold at the same time, for long enough to be seen."""
    report = launch(program, "device", 1, "fork", "push", "child", "alloc", 1, 3 * MIB, "touch", tmp_path / "a", "await",
                    tmp_path / "b", "free", 1, "end", "await", tmp_path / "a", "push", "parent", "alloc", 2, 4 * MIB, "sleep",
                    1000, "touch", tmp_path / "b", "wait", "free", 2)
    dram = launch.place("dram")
    assert dram["processes"] == 2 and len(report["processes"]) == 2
    assert (dram["peak_bytes_reserved"], dram["peak_bytes_reserved_slack"]) == (7 * MIB, 0)
    assert held(dram["at_peak"]) == {"parent": 4 * MIB, "child": 3 * MIB}


def test_peak_long_before_the_end(launch, program):
    """The flight recorder has forgotten the peak at the end; it was read in time."""
    launch(program, "device", 1, "push", "high", "alloc", 1, 8 * MIB, "sleep", 700, "pop", "free", 1, "push", "low",
           "churn", 50000, MIB)
    dram = launch.place("dram")
    assert dram["peak_bytes_reserved"] == 8 * MIB
    assert dram["at_peak"]["exact"] and held(dram["at_peak"]) == {"high": 8 * MIB}


def test_peak_that_nobody_saw(launch, program):
    """It came and went faster than anybody looks: the report says so, and does not guess."""
    launch(program, "device", 1, "push", "high", "alloc", 1, 8 * MIB, "free", 1, "pop", "push", "low", "churn", 100000, MIB)
    dram = launch.place("dram")
    assert dram["peak_bytes_reserved"] == 8 * MIB
    moment = dram["at_peak"]
    assert moment["exact"] == (moment["total"]["bytes_reserved"] == 8 * MIB)
    if not moment["exact"]:
        assert "sampled: at 12.5 % of the peak" in launch.done.stderr


def test_who_held_the_memory_when_an_allocation_failed(launch, program, memtally, tmp_path):
    """Another process, that was not started by this run, holds most of the same device."""
    other = subprocess.Popen([program, *map(str, ["device", 9, "kind", "dram", 16 * MIB, "push", "weights", "alloc", 1, 12 * MIB,
                                                  "touch", tmp_path / "holds", "await", tmp_path / "over"])],
                             env={**memtally.environment, "LD_PRELOAD": str(BUILD_DIR / "src/track/libmemtally.so.0")})
    try:
        await_that((tmp_path / "holds").exists, "the other process")
        report = launch(program, "device", 9, "kind", "dram", 16 * MIB, "push", "batch", "alloc", 1, 3 * MIB, "push", "step 7",
                        "fail", 2 * MIB, "pop", "pop", "sleep", 300, "free", 1)
    finally:
        (tmp_path / "over").touch()
        assert other.wait(PATIENCE) == 0
    [failure] = report["failed_allocations"]
    assert (failure["bytes_requested"], failure["tag"], failure["kind"]) == (2 * MIB, "batch / step 7", "dram")
    assert failure["thread_id"] == failure["process"]["pid"] == report["processes"][0]["pid"]
    shares = {(share["pid"], share["of_launch"], share["tag"]): share["held"]["bytes_reserved"]
              for share in failure["held"]["shares"]}
    assert shares == {(other.pid, False, "weights"): 12 * MIB, (failure["process"]["pid"], True, "batch"): 3 * MIB}
    assert failure["held"]["exact"]
    assert "FAILED after" in launch.done.stderr and "not of this run" in launch.done.stderr


def test_many_failures(launch, program):
    steps = [step for i in range(300) for step in ("fail", 1000 + i)]
    report = launch(program, "device", 1, "alloc", 1, 10, *steps, "free", 1)
    assert launch.place("dram")["failed_allocations"] == 300
    assert len(report["failed_allocations"]) + report["failed_allocations_without_details"] == 300
    sizes = [failure["bytes_requested"] for failure in report["failed_allocations"]]
    assert len(sizes) == 100 and len(set(sizes)) == 100
    assert all(failure["held"]["exact"] for failure in report["failed_allocations"])
    assert "and 295 more allocations failed" in launch.done.stderr


def test_daemons_are_not_waited_for(launch, program, memtally, tmp_path):
    started = time.monotonic()
    report = launch(program, "device", 1, "fork", "leave", "alloc", 1, MIB, "touch", tmp_path / "there", "await",
                    tmp_path / "over", "free", 1, "touch", tmp_path / "ended", "end", "wait", "await", tmp_path / "there",
                    "alloc", 2, 10, "free", 2)
    try:
        assert time.monotonic() - started < PATIENCE / 2
        [daemon] = [process for process in report["processes"] if process["goes_on"]]
        assert daemon["state"] == "alive" and daemon["left"] == []
        assert launch.place("dram")["live"]["bytes_reserved"] == MIB
        assert launch.place("dram")["left"]["count"] == 0
        assert f"1 process of this run goes on: {daemon['pid']}" in launch.done.stderr
    finally:
        (tmp_path / "over").touch()
        await_that((tmp_path / "ended").exists, "the daemon")
    # Its ledger waits for a run that is over; any other command removes it.
    await_that(lambda: memtally.json("ps")["processes"] == [] and memtally.ledgers() == [], "the clean-up")


def test_nothing_is_left_of_a_run_that_was_killed(memtally, program, tmp_path):
    run = memtally.start("run", "--report", tmp_path / "report.json", "--", program, "device", 1, "alloc", 1, 10, "touch",
                         tmp_path / "there", "await", tmp_path / "over", "free", 1, "touch", tmp_path / "ended")
    await_that((tmp_path / "there").exists, "the program")
    run.kill()
    run.wait(PATIENCE)
    (tmp_path / "over").touch()
    run.communicate(timeout=PATIENCE)
    await_that((tmp_path / "ended").exists, "the program's end")
    await_that(lambda: memtally.json("ps")["processes"] == [] and list(memtally.folder.iterdir()) == [], "the clean-up")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ended", "over", "there"]


def test_nested_runs(launch, memtally, program, tmp_path):
    """The innermost has the process; the outer one says that it saw nothing."""
    inner = tmp_path / "inner.json"
    report = launch(COMMAND, "run", "--report", inner, "--", program, "device", 1, "alloc", 1, MIB, "free", 1)
    assert report["processes"] == []
    inner = validate(json.loads(inner.read_text()))
    assert len(inner["processes"]) == 1 and inner["launch_id"] != report["launch_id"]


# ---- what the command sees


def test_streams_pass_through(memtally):
    """What comes in goes out, byte by byte, and the summary is nowhere between."""
    data = os.urandom(3 << 20)
    done = subprocess.run([COMMAND, "run", "--", "/bin/cat"], input=data, capture_output=True, env=memtally.environment,
                          check=False, timeout=PATIENCE)
    assert done.stdout == data
    assert done.stderr.startswith(b"memtally: cat: exit code 0")


def test_environment(memtally, program):
    tracker = str(BUILD_DIR / "src/track/libmemtally.so.0")
    library = f"{tracker}:{BUILD_DIR / 'src/track/hooks/ttmetal/libmemtally_ttmetal.so'}"
    done = memtally.run("run", "-q", "--", program, "env", "LD_PRELOAD", "env", "MEMTALLY_DIR", "env", "MEMTALLY_LAUNCH")
    preload, folder, launch = done.stdout.splitlines()
    assert preload == f"LD_PRELOAD={library}"
    assert folder == f"MEMTALLY_DIR={memtally.folder}"
    assert len(launch) == len("MEMTALLY_LAUNCH=") + 32
    libc = "libc.so.6"
    done = memtally.run("run", "-q", "--", program, "env", "LD_PRELOAD", LD_PRELOAD=libc)
    assert done.stdout == f"LD_PRELOAD={library}:{libc}\n"
    done = memtally.run("run", "-q", "--", COMMAND, "run", "-q", "--", program, "env", "LD_PRELOAD", LD_PRELOAD=libc)
    assert done.stdout == f"LD_PRELOAD={library}:{libc}\n"
    done = memtally.run("run", "-q", "--no-hooks", "--", program, "env", "LD_PRELOAD")
    assert done.stdout == f"LD_PRELOAD={tracker}\n"
    done = memtally.run("run", "-q", "--no-hooks", "--", COMMAND, "run", "-q", "--", program, "env", "LD_PRELOAD")
    assert sorted(done.stdout.strip().removeprefix("LD_PRELOAD=").split(":")) == sorted(library.split(":"))


def test_it_runs_as_under_time(memtally, program):
    """Same process group and session, and nothing inherited but what was there."""
    code = "import os, signal; print(os.getpgrp(), os.getsid(0), sorted(os.listdir('/proc/self/fd')), " \
           "signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGPIPE))"
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=memtally.environment, check=True)
    under = subprocess.run([COMMAND, "run", "-q", "--", sys.executable, "-c", code], capture_output=True, text=True,
                           env=memtally.environment, check=True)
    assert under.stdout == plain.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH])
def test_signals_are_handed_on(memtally, program, number):
    run = subprocess.Popen([COMMAND, "run", "-q", "--", program, "trap", str(int(number)), "say", "ready", "hear", "exit", "9"],
                           stdout=subprocess.PIPE, env=memtally.environment, start_new_session=True)
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(number)
    assert run.stdout.read() == b"signal %d\n" % number
    assert run.wait(PATIENCE) == 9


def test_signals_that_kill(memtally, program):
    run = subprocess.Popen([COMMAND, "run", "--", program, "say", "ready", "hear"], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=memtally.environment, start_new_session=True)
    assert run.stdout.readline() == b"ready\n"
    run.terminate()
    assert b"killed by signal 15 (Terminated)" in run.communicate(timeout=PATIENCE)[1]
    assert run.returncode == 143


def test_ignored_signals_stay_ignored(memtally, program):
    """As under nohup: a hang-up reaches neither."""
    run = subprocess.Popen([COMMAND, "run", "-q", "--", program, "say", "ready", "await", memtally.folder / "over", "exit", "4"],
                           stdout=subprocess.PIPE, env=memtally.environment, start_new_session=True,
                           preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGHUP)
    time.sleep(0.05)
    (memtally.folder / "over").touch()
    assert run.wait(PATIENCE) == 4


def test_a_child_that_ignores_its_children(memtally, program):
    run = subprocess.run([COMMAND, "run", "-q", "--", program, "exit", "6"], env=memtally.environment, check=False,
                         preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN), timeout=PATIENCE)
    assert run.returncode == 6


class Terminal:
    """A command in a session of its own with a terminal."""

    def __init__(self, arguments, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(arguments[0], [os.fsencode(str(argument)) for argument in arguments], environment)
        self.text = b""

    def read_until(self, wanted):
        end = time.monotonic() + PATIENCE
        while wanted not in self.text:
            assert time.monotonic() < end, f"{wanted} did not come, but: {self.text}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536)
                except OSError:
                    break
        assert wanted in self.text, self.text

    def write(self, data):
        os.write(self.fd, data)

    def end(self):
        """The exit code."""
        end = time.monotonic() + PATIENCE
        while True:
            if select.select([self.fd], [], [], 0.02)[0]:
                try:
                    self.text += os.read(self.fd, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < end, self.text


def test_interrupt_from_the_terminal(memtally, program):
    """The program gets it once, by itself; the run stays and tells the end."""
    terminal = Terminal([COMMAND, "run", "--", program, "trap", 2, "say", "ready", "hear", "sleep", 100, "exit", 5],
                        memtally.environment)
    terminal.read_until(b"ready")
    terminal.write(b"\x03")
    assert terminal.end() == 5
    assert terminal.text.count(b"signal 2") == 1
    assert b"exit code 5" in terminal.text
    terminal = Terminal([COMMAND, "run", "--", program, "say", "ready", "hear"], memtally.environment)
    terminal.read_until(b"ready")
    terminal.write(b"\x03")
    assert terminal.end() == 130


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def child_of(pid):
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_job_is_stopped_and_continued_from_the_terminal(memtally, program):
    """A shell with job control starts it, as people do."""
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("there is no bash")
    terminal = Terminal([shell, "--norc", "--noprofile", "-i"], {**memtally.environment, "PS1": "prompt> ", "TERM": "dumb"})
    terminal.read_until(b"prompt> ")
    terminal.write(f"{COMMAND} run -- {program} say ready hear\n".encode())
    terminal.read_until(b"\r\nready")
    run = child_of(terminal.pid)
    terminal.write(b"\x1a")
    terminal.read_until(b"Stopped")
    program_pid = child_of(run)
    assert (state_of(run), state_of(program_pid)) == ("T", "T")
    terminal.text = b""
    terminal.write(b"fg\n")
    await_that(lambda: state_of(run) == "S" and state_of(program_pid) in "SR", "the job to go on")
    terminal.write(b"\x03")
    terminal.read_until(b"killed by signal 2")
    terminal.write(b"echo code $?; exit\n")
    terminal.read_until(b"code 130")
    terminal.end()


def test_stop_and_continue_meant_for_the_run_alone(memtally, program):
    run = subprocess.Popen([COMMAND, "run", "-q", "--", program, "say", "ready", "hear"], stdout=subprocess.PIPE,
                           env=memtally.environment, process_group=0) if sys.version_info >= (3, 11) else None
    assert run.stdout.readline() == b"ready\n"
    child = child_of(run.pid)
    run.send_signal(signal.SIGTSTP)
    await_that(lambda: state_of(child) == "T" and state_of(run.pid) == "T", "both to stop")
    run.send_signal(signal.SIGCONT)
    await_that(lambda: state_of(child) in "SR" and state_of(run.pid) == "S", "both to go on")
    # The program is stopped by itself: the run stops with it, and can be continued.
    os.kill(child, signal.SIGSTOP)
    await_that(lambda: state_of(run.pid) == "T", "the run to stop")
    run.send_signal(signal.SIGCONT)
    await_that(lambda: state_of(child) in "SR", "the program to go on")
    run.terminate()
    assert run.wait(PATIENCE) == 143


def test_group_kill_of_a_script_comes_once(memtally, program):
    """kill 0 inside the command reaches the run as well, which does not send it again."""
    run = subprocess.run([COMMAND, "run", "-q", "--", "/bin/bash", "-c",
                          "trap 'echo caught' USR1; kill -USR1 0; sleep 0.3; exit 3"], capture_output=True, text=True,
                         env=memtally.environment, start_new_session=True, timeout=PATIENCE, check=False)
    assert (run.stdout, run.returncode) == ("caught\n", 3)


# ---- commands that cannot be tracked, or not be executed


def test_commands_that_are_not_there(memtally, tmp_path):
    done = memtally.run("run", "--", "no-such-command-at-all", code=127)
    assert done.stderr == "memtally: no-such-command-at-all: command not found in PATH\n"
    assert "is 'python3' meant?" in memtally.run("run", "--", "pyhton3", code=127).stderr
    done = memtally.run("run", "--", "/nowhere/to/be/found", code=127)
    assert done.stderr == "memtally: /nowhere/to/be/found: No such file or directory\n"
    assert "is a folder" in memtally.run("run", "--", tmp_path, code=126).stderr
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    if os.geteuid() == 0:
        plain.chmod(0o644)
    assert "chmod +x" in memtally.run("run", "--", plain, code=126).stderr
    assert "may not be executed" in memtally.run("run", "--", "plain", code=126, PATH=str(tmp_path)).stderr


def script(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o755)
    return path


def test_scripts(launch, memtally, program, tmp_path):
    steps = f"{program} device 1 alloc 1 {MIB} free 1 say done\n"
    for name, text in (("sh", "#!/bin/sh\n" + steps), ("spaces", "#!  /bin/sh  -e \n" + steps), ("none", steps),
                       ("env", "#!/usr/bin/env sh\n" + steps), ("split", "#!/usr/bin/env -S A=b sh -e\n" + steps),
                       ("outer", f"#!{tmp_path}/sh\n")):
        report = launch(script(tmp_path / name, text))
        assert launch.done.stdout == "done\n", name
        assert len(report["processes"]) == 1, name
        if name != "none":
            assert os.path.basename(report["program"]) == "sh"


def test_bad_scripts(memtally, tmp_path):
    def complaint(text, code):
        return memtally.run("run", "--", script(tmp_path / "script", text), code=code).stderr

    assert "which" in complaint("#!/no/such/shell\n", 127) and "names in its first line" in complaint("#!/no/such/shell\n", 127)
    assert "line ends of DOS" in complaint("#!/bin/sh\r\necho\r\n", 127)
    assert "asks env for 'nonsense-shell'" in complaint("#!/usr/bin/env nonsense-shell\n", 127)
    for i in range(6):
        script(tmp_path / f"s{i}", f"#!{tmp_path}/s{i + 1}\n")
    script(tmp_path / "s6", "#!/bin/sh\n")
    assert "a script for a script" in memtally.run("run", "--", tmp_path / "s0", code=126).stderr


def test_static_program(launch, memtally, compile_program):
    static = compile_program("-static")
    report = launch(static, "device", 1, "alloc", 1, 10, "say", "ran")
    assert launch.done.stdout == "ran\n"
    assert [finding["code"] for finding in report["findings"]] == ["static"]
    assert "is statically linked" in launch.done.stderr and "it runs untracked" in launch.done.stderr
    done = memtally.run("run", "--strict", "--", static, "say", "ran", code=3)
    assert done.stdout == "" and "is not started" in done.stderr


@pytest.mark.parametrize("sanitizer", ["address", "thread", "leak", "undefined"])
def test_sanitizers(launch, compile_program, sanitizer):
    program = compile_program(f"-fsanitize={sanitizer}")
    # The thread sanitizer of some compilers does not start under the address randomisation of some kernels.
    no_randomisation = ["setarch", os.uname().machine, "-R"] if sanitizer == "thread" else []
    report = launch(*no_randomisation, program, "device", 1, "alloc", 1, MIB, "free", 1, "exit", 5, code=5)
    assert launch.place("dram")["peak_bytes_reserved"] == MIB
    assert [finding["code"] for finding in report["findings"]] == (["address_sanitizer"] if sanitizer == "address" else [])


def test_address_sanitizer_keeps_its_options(launch, compile_program):
    program = compile_program("-fsanitize=address")
    launch(program, "env", "ASAN_OPTIONS", "device", 1, "alloc", 1, 10, "free", 1, ASAN_OPTIONS="exitcode=44")
    assert launch.done.stdout == "ASAN_OPTIONS=exitcode=44:verify_asan_link_order=0\n"


def test_set_user_id(memtally, program, tmp_path):
    """Copied for another user, who starts it: needs root, and nobody's rights for the one who runs it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    folder = Path("/tmp") / f"memtally-test-suid.{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        copy = folder / "program"
        shutil.copy(program, copy)
        copy.chmod(0o4755)
        os.chmod(memtally.folder, 0o777)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*as_nobody, COMMAND, "--version"], capture_output=True, check=False).returncode != 0:
            pytest.skip("the build tree is not open to other users")
        done = subprocess.run([*as_nobody, COMMAND, "run", "--", copy, "device", "1", "alloc", "1", "10", "say", "ran"],
                              capture_output=True, text=True, env=memtally.environment, check=False, timeout=PATIENCE)
        assert done.stdout == "ran\n" and done.returncode == 0, done.stderr
        assert "gets other rights than yours when it starts (set-user-id)" in done.stderr
        # Under no_new_privs the bit means nothing, and it can be tracked.
        done = subprocess.run([*as_nobody, "--no-new-privs", COMMAND, "run", "--", copy, "device", "1", "alloc", "1", "10"],
                              capture_output=True, text=True, env=memtally.environment, check=False, timeout=PATIENCE)
        assert "1 process tracked" in done.stderr
    finally:
        shutil.rmtree(folder)


def test_another_users_ledger_is_not_believed(memtally, program, tmp_path):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    os.chmod(memtally.folder, 0o1777)
    if subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", COMMAND, "--version"], capture_output=True,
                      check=False).returncode != 0:
        pytest.skip("the build tree is not open to other users")
    (tmp_path / "x").mkdir(mode=0o777)
    run = subprocess.Popen(["setpriv", "--reuid=65534", "--clear-groups", COMMAND, "run", "--", "/bin/sh", "-c",
                            "echo $MEMTALLY_LAUNCH; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, env=memtally.environment)
    launch = run.stdout.readline().strip()
    subprocess.run([program, "device", "1", "alloc", "1", "10"], check=True,
                   env={**memtally.environment, "MEMTALLY_LAUNCH": launch,
                        "LD_PRELOAD": str(BUILD_DIR / "src/track/libmemtally.so.0")})
    errors = run.communicate("\n", timeout=PATIENCE)[1]
    assert run.returncode == 0 and "0 processes tracked" in errors


# ---- arguments and the report


@pytest.mark.parametrize("arguments, says", [
    ([], "there is no command"), (["--"], "there is no command"), (["ls"], "memtally run -- ls"),
    (["--nonsense", "--", "ls"], "--nonsense"), (["--limit", "many", "--", "ls"], "'many' is no size"),
    (["--limit", "1GiB:", "--", "ls"], "names no kind"), (["--limit", "1XiB", "--", "ls"], "no unit 'XiB'"),
    (["--limit", "-1", "--", "ls"], "negative"), (["--report", "--", "ls"], "--report"), (["--fial-on-leak", "--", "ls"], "--fail-on-leak")])
def test_wrong_arguments(memtally, arguments, says):
    done = memtally.run("run", *arguments, code=2)
    assert says in done.stderr and "memtally run --help" in done.stderr and done.stdout == ""


def test_options_of_the_command_are_its_own(memtally):
    assert memtally.run("run", "-q", "--", "/bin/echo", "--report", "--", "--help", "ps").stdout == "--report -- --help ps\n"
    assert memtally.run("--color", "never", "run", "-q", "--", "printf", "%s", "--").stdout == "--"


def test_report_that_cannot_be_written(memtally, program, tmp_path):
    for path, says in ((tmp_path / "no" / "such", "No such file"), (tmp_path, "is a folder"), ("/proc/report", "report")):
        done = memtally.run("run", "--report", path, "--", program, "say", "started", code=1)
        assert done.stdout == "" and says in done.stderr and "report" in done.stderr


def test_report_takes_the_place_of_what_was_there(launch, program, tmp_path):
    launch.report_path.write_text("before")
    link = tmp_path / "link"
    link.symlink_to(launch.report_path)
    launch.report_path = link
    launch(program, "device", 1)
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "report.json"]
    # A pipe or device is written as it is.
    done = launch.memtally.run("run", "--report", "/dev/fd/1", "--name", "a name", "-q", "--", program, "device", 1)
    assert validate(json.loads(done.stdout))["name"] == "a name"


def test_hostile_names(launch, compile_program, tmp_path):
    program = tmp_path / "evil\x1b[2J\u202e\nname"
    shutil.copy(compile_program(), program)
    report = launch(program, "device", 1, "push", "\x1b]0;evil\x07\xff", "alloc", 1, MIB, "fail", 5)
    assert report["failed_allocations"][0]["tag"].startswith("\x1b]0;evil")
    assert not any(ord(c) < 32 and c != "\n" or c == "\u202e" for c in launch.done.stderr)


def test_recorded_model(launch):
    """A whole recording: sums as the recording itself has them."""
    report = launch(COMMAND, "replay", "leak-until-oom-n150", code=0)
    dram = launch.place("dram")
    assert dram["left"]["count"] == 550 and dram["left"]["bytes_reserved"] == 1065670656 * 12
    assert [failure["bytes_requested"] for failure in report["failed_allocations"]] == [33554432]
    moment = report["failed_allocations"][0]["held"]
    assert moment["exact"] and moment["total"]["bytes_reserved"] == 1065670656 * 12
