# SPDX-License-Identifier: Apache-2.0
"""The TT-Metal hook: what it reports beside tensors, that it changes nothing, and what it does without some function."""

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from conftest import COMMAND, HOOK, ROOT, TRACKER
from renamed_library import other_name
from test_exact import run_steps

TABLE = (ROOT / "src/track/hooks/ttmetal/functions.hpp").read_text(encoding="utf-8")
LOG_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+"  # colours may follow it, depending on TERM
SYMBOLS = dict(re.findall(r'#define (MEMTALLY_TT_\w+)\s+\\?\s*"(\w+)"', TABLE))


class Asked:
    """A program that does what it is told, and what memtally says of it."""

    def __init__(self, runner, chips=1, **options):
        self.runner = runner
        self.process = runner.start("questions.py", chips, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise AssertionError(self.process.stderr.read())

    def buffers(self, *kinds):
        return [buffer for buffer in self.held()["buffers"] if buffer["kind"] in kinds]

    def held(self):
        return self.runner.held_by(self.process.pid)

    def account(self):
        return self.runner.process(self.process.pid)


def test_the_library_needs_libc_alone_and_shows_the_table():
    if not HOOK.exists():
        pytest.skip(f"{HOOK} is not built")
    needed = subprocess.run(["readelf", "-d", HOOK], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"NEEDED.*\[(.*)\]", needed) == ["libc.so.6"]
    shown = subprocess.run(["nm", "-D", "--defined-only", HOOK], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in shown.splitlines()} == {*SYMBOLS.values(), "memtally_hook_ask"}
    assert len(SYMBOLS) > 15


def test_other_programs_do_not_notice():
    if not HOOK.exists():
        pytest.skip(f"{HOOK} is not built")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        done = subprocess.run(["/bin/sh", "-c", "echo out; ls / >/dev/null; exit 7"], capture_output=True, text=True,
                              check=False, env={"LD_PRELOAD": f"{TRACKER}:{HOOK}", "MEMTALLY_DIR": folder})
        assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "")
        assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize("end,code", [("", 0), ("error", 3)])
def test_nothing_changes(board, end, code):
    def output(preload=(TRACKER, HOOK), **variables):
        out, err = board.run("model.py", end, code=code, preload=preload, **variables)
        return re.sub(LOG_TIME, "TIME", out), err

    without = output(preload=())
    assert '"buffer_allocate"' in without[0] and (code == 0 or "Out of Memory" in without[0])
    assert output() == without
    assert output(preload=(HOOK,)) == without
    assert output(MEMTALLY="0") == without


def test_a_failed_allocation_is_there_at_once(board):
    with Asked(board) as asked:
        asked.ask("allocate")
        assert asked.ask("too large") == "refused"
        dram = next(account for account in asked.account()["accounts"] if account["kind"] == "dram")
        assert (dram["failed_allocations"], dram["failed_bytes_requested"]) == (1, 1 << 36)
        assert asked.ask("too large") == "refused"
        dram = next(account for account in asked.account()["accounts"] if account["kind"] == "dram")
        assert dram["failed_allocations"] == 2 and dram["live"]["count"] == 1


@pytest.mark.parametrize("name,chips", [("n150", 1), ("n300", 2)])
def test_circular_buffers_are_those_of_the_capture(board, name, chips):
    with Asked(board, chips, board=name) as asked:
        nodes = asked.ask("operate")
        want = sorted((int(node["params"]["address"]), int(node["params"]["size"]), int(node["params"]["device_id"]))
                      for node in nodes if node["node_type"] == "circular_buffer_allocate")
        held = asked.held()
        numbers = {device["index"]: device["local_index"] for device in held["devices"]}
        got = [buffer for buffer in held["buffers"] if buffer["kind"] == "cb"]
        assert len(want) >= 3 * chips
        assert sorted((buffer["address"], buffer["bytes_per_bank"], numbers[buffer["device"]]) for buffer in got) == want
        # Every program has dataflow or circular buffers, a name and a range of cores.
        names = {buffer["group_name"] for buffer in held["buffers"] if buffer["kind"] in ("cb", "dfb")}
        assert len(names) >= 3 and all(re.match(r"program \d+: \w+.* \[\d+-\d+\.\.\d+-\d+\]$", text) for text in names)
        dataflow = [buffer for buffer in held["buffers"] if buffer["kind"] == "dfb"]
        assert dataflow and all(buffer["bytes_requested"] % buffer["bytes_per_bank"] == 0 for buffer in dataflow)
        asked.ask("operate")  # the programs are cached
        assert len(asked.buffers("cb", "dfb")) == len(got) + len(dataflow)
        asked.ask("forget programs")
        assert asked.buffers("cb", "dfb") == []


def test_closing_a_submesh_frees_its_own(board):
    with Asked(board, 2, board="n300") as asked:
        asked.ask("allocate")
        asked.ask("submesh")
        assert len(asked.buffers("dram")) == 4
        asked.ask("close submesh")
        left = asked.buffers("dram")
        assert len(left) == 2 and left[0]["group"] == left[1]["group"] != 0
        asked.ask("close")
        process = asked.account()
        assert all(device["closed_at_ns"] for device in process["devices"])
        dram = [account for account in process["accounts"] if account["kind"] == "dram"]
        assert [account["live"]["count"] for account in dram] == [0, 0]
        assert [account["released"]["count"] for account in dram] == [1, 1]
        anomalies = {name: anomaly["count"] for name, anomaly in process["anomalies"].items() if anomaly["count"]}
        assert anomalies == {}


def test_two_processes_on_one_device_one_killed(board):
    """The chip says its unique id, so both processes are on one device; the dead one's bytes leave its sum at once."""
    with board.start("model.py", "kill", board="p150") as one, board.start("model.py", "kill", board="p150") as two:
        try:
            for process in (one, two):
                while process.stdout.readline().strip() != "ready":
                    assert process.poll() is None
            pids = (one.pid, two.pid)

            def held():
                snapshot = board.memtally("ps", "--all")
                mine = {process["pid"]: process for process in snapshot["processes"] if process["pid"] in pids}
                used = {device["machine_device"] for process in mine.values() for device in process["devices"]}
                assert len(used) == 1
                device = snapshot["devices"][used.pop()]
                dram = next(memory for memory in device["memories"] if memory["name"] == "dram")
                return device, dram, mine

            device, dram, mine = held()
            assert (device["id_scheme"], device["id"]) == ("chip", "efcdab8967452301" + 16 * "0")
            each = mine[one.pid]["held_on_devices"]["bytes_reserved"]
            before = dram["held"]["bytes_reserved"]
            assert before > 0 and mine[two.pid]["held_on_devices"]["bytes_reserved"] == each
            one.kill()
            one.wait()
            for _ in range(100):
                _, dram, mine = held()
                if mine[one.pid]["state"] == "dead":
                    break
                time.sleep(0.05)
            assert mine[one.pid]["state"] == "dead"
            assert dram["held"]["bytes_reserved"] * 2 == before == dram["left"]["bytes_reserved"] * 2
        finally:
            one.kill()
            two.kill()


def test_a_child_of_fork_does_not_disturb(board):
    out, _ = board.run("model.py", "fork")
    assert out.endswith("child 5\n")


@pytest.mark.parametrize("name", ["n150", "p150"])
def test_a_decoder_leaves_to_the_close_what_the_allocator_says(board, name):
    """The example's last line says what the allocator holds before the device is closed."""
    with board.start(ROOT / "examples/ttnn_llama.py", "--layers", 2, "--tokens", 4, "--context", 256, board=name) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and err == "", err
    bytes_per_bank, banks = map(int, re.search(r"DRAM in use: (\d+) B in each of (\d+) banks", out).groups())
    said = board.process(process.pid)
    dram = next(account for account in said["accounts"] if account["kind"] == "dram")
    assert dram["released"]["bytes_reserved"] == bytes_per_bank * banks > 1 << 25
    assert dram["peak_bytes_reserved"] > bytes_per_bank * banks and dram["live"]["count"] == 0
    kinds = {account["kind"]: account for account in said["accounts"]}
    assert kinds["dfb"]["allocated"]["count"] > 10 and kinds["l1"]["allocated"]["count"] > 10
    assert said["exited_normally"] and all(anomaly["count"] == 0 for anomaly in said["anomalies"].values())


@pytest.mark.parametrize("example,name,kinds", [("ttnn_resnet.py", "n150", ("dram", "l1", "l1_small")),
                                                ("ttnn_resnet.py", "p150", ("dram", "l1", "l1_small")),
                                                ("ttnn_mesh.py", "n300", ("dram",))])
def test_examples_leave_to_the_close_what_the_allocator_says(board, example, name, kinds):
    with board.start(ROOT / "examples" / example, board=name) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and err == "", err
    said = board.process(process.pid)
    assert said["exited_normally"] and all(anomaly["count"] == 0 for anomaly in said["anomalies"].values())
    for kind in kinds:
        bytes_per_bank, banks = map(int, re.search(rf"^{kind.upper()} in use: (\d+) B in each of (\d+) banks", out, re.M).groups())
        accounts = [account for account in said["accounts"] if account["kind"] == kind]
        assert len(accounts) == len(said["devices"]) == (2 if name == "n300" else 1)
        for account in accounts:
            assert account["released"]["bytes_reserved"] == bytes_per_bank * banks and account["live"]["count"] == 0
            assert account["allocated"]["count"] > 3


# ------------------------------------------------------------------------------------------- versions that lack something


def gnu_hash(name):
    value = 5381
    for letter in name.encode():
        value = (value * 33 + letter) & 0xFFFFFFFF
    return value


def test_other_names_have_the_same_hash():
    for symbol in re.findall(r'"(_Z\w+)"', TABLE):
        if len(symbol) > 30:
            assert other_name(symbol) != symbol and gnu_hash(other_name(symbol)) == gnu_hash(symbol)


def test_without_a_needed_function_nothing_is_recorded_and_nothing_changes(board, lacking):
    variables = lacking("_ZNK2tt8tt_metal6Buffer21aligned_size_per_bankEv")
    out, err = board.run("model.py", preload=(), **variables)
    assert "memtally" not in err
    got = board.run("model.py", **variables)
    assert got[0] == out
    said = [line for line in got[1].splitlines() if line.startswith("memtally:")]
    assert said == ["memtally: this version of TT-Metal has no Buffer::aligned_size_per_bank, so its buffers are not recorded"]
    with Asked(board, **variables) as asked:
        asked.ask("allocate")
        assert asked.held() == {"devices": [], "buffers": []}


def test_without_the_allocators_functions_the_tracker_serves(board, lacking):
    variables = lacking(SYMBOLS["MEMTALLY_TT_ALLOCATE"], SYMBOLS["MEMTALLY_TT_DEALLOCATE"])
    run_steps(board, "n150", 4, 60, expect="failed allocations", **variables)


def test_without_dataflow_buffers_one_line_says_so(board, lacking):
    variables = lacking(SYMBOLS["MEMTALLY_TT_ALLOCATE_DFBS"])
    with Asked(board, **variables) as asked:
        asked.ask("allocate")
        asked.ask("operate")
        assert asked.buffers("dfb") == [] and asked.buffers("cb") and asked.buffers("dram")
        _, err = asked.process.communicate(timeout=60)
        said = [line for line in err.splitlines() if line.startswith("memtally:")]
    assert said == ["memtally: this version of TT-Metal has no ProgramImpl::allocate_dataflow_buffers; "
                    "not recorded: dataflow buffers"]
