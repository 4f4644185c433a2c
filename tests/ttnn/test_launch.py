# SPDX-License-Identifier: Apache-2.0
"""memtally run with the real TT-NN package: nobody names a library, and what it says is what the allocator says."""

import json
import sys

import pytest
from conftest import COMMAND, HOOK, ROOT

sys.path.insert(0, str(ROOT / "tests" / "tools"))

from document_schemas import validate  # noqa: E402
from test_hook import SYMBOLS  # noqa: E402


@pytest.fixture
def run(board, tmp_path):
    """Runs a program of this folder under `memtally run`; returns its two outputs and the report."""
    def it(program, *arguments, options=(), **more):
        report = tmp_path / "report.json"
        under = (COMMAND, "run", "--report", report, *options, "--")
        out, err = board.run(program, *arguments, preload=(), under=under, **more)
        return out, err, validate(json.loads(report.read_text(encoding="utf-8")))

    return it


def place(report, name):
    [found] = [place for place in report["places"] if place["name"] == name and not place["is_memory"]]
    return found


def test_the_peak_is_the_allocators(run):
    out, err, report = run("peak.py")
    peak = json.loads(out.splitlines()[-1])
    assert report["tracked"] and str(HOOK) in report["hooks"]
    for name in ("dram", "l1"):
        said = place(report, name)
        assert (said["peak_bytes_reserved"], said["peak_bytes_reserved_slack"]) == (peak[name], 0) and peak[name] > 0
        assert said["left"]["count"] == 0
    assert "dram" in err and "1 process tracked" in err


def test_a_decoder_without_a_change(run):
    out, err, report = run(ROOT / "examples/ttnn_llama.py", "--layers", 2, "--tokens", 4, "--context", 256,
                           options=("--fail-on-leak", "--strict"))
    assert report["command_exit_code"] == 0 and report["exit_code"] == 0
    assert "DRAM in use" in out
    assert {"dram", "l1", "dfb"} <= {place["name"] for place in report["places"]}
    assert err.startswith("memtally: ")


def test_an_out_of_memory_says_who_had_it(run):
    _, err, report = run("model.py", "error", code=3)
    [failure] = report["failed_allocations"]
    assert failure["kind"] == "dram" and failure["bytes_requested"] == 1 << 36
    assert failure["held"]["total"]["bytes_reserved"] == sum(share["held"]["bytes_reserved"]
                                                             for share in failure["held"]["shares"]) > 0
    assert "failed" in err


def test_what_does_not_fit_is_said_at_once_and_once_more_at_the_end(run):
    _, err, _ = run("shortage.py", "clash")
    at_once, at_the_end = err.split("memtally: python")
    assert "would have to go" in at_once and ": program " in at_once and "exit code 0" in at_the_end
    _, err, _ = run("shortage.py", "clash", options=("--quiet",))
    assert err == ""
    _, err, _ = run("shortage.py", "clash", MEMTALLY_OOM_REPORT="0")
    assert err.startswith("memtally: python")


def test_without_hooks_nothing_is_seen(run):
    _, _, report = run("model.py", options=("--no-hooks",))
    assert report["hooks"] == [] and report["processes"] == []


# ------------------------------------------------------------------------------------------------------------- doctor


def frameworks(board, version, code=0, **variables):
    with board.start("model.py", version=version, preload=(), under=(COMMAND, "doctor", "--json", "--"), **variables) as doctor:
        out, err = doctor.communicate(timeout=120)
    assert doctor.returncode == code, err
    return validate(json.loads(out))["command"]["frameworks"]


@pytest.mark.parametrize("version", ["0.81.1", "0.78.0", "0.75.0"])
def test_doctor_says_what_an_installation_gives(board, version):
    [framework] = frameworks(board, version)
    assert (framework["name"], framework["version"], framework["records"]) == ("TT-Metal", version, True)
    assert str(board.environment(version).package()) in framework["library"]
    assert framework["needed"] == framework["missing"] == framework["not_recorded"] == ""


def test_doctor_says_what_is_missing(board, lacking):
    [framework] = frameworks(board, "0.81.1", **lacking(SYMBOLS["MEMTALLY_TT_ALLOCATE_DFBS"]))
    assert framework["records"] and framework["not_recorded"] == "dataflow buffers"
    assert framework["missing"] == "ProgramImpl::allocate_dataflow_buffers"


def test_doctor_says_what_is_needed(board, lacking):
    [framework] = frameworks(board, "0.81.1", code=1, **lacking("_ZNK2tt8tt_metal6Buffer21aligned_size_per_bankEv"))
    assert not framework["records"] and framework["needed"] == "Buffer::aligned_size_per_bank"
