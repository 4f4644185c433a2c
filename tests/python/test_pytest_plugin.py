# SPDX-License-Identifier: Apache-2.0
"""Limits of device memory in pytest: runs of pytest on small test files."""

import sys
import textwrap
import xml.etree.ElementTree as ElementTree

import pytest

DEVICE = """
import subprocess, sys
import memtally, pytest
device = memtally.register_device(0, vendor="acme")
device.register_kind("dram", 1 << 30, 4)
device.register_kind("l1", 1 << 24, 8)
"""


@pytest.fixture
def pytest_run(programs):
    """Runs pytest on a file with these tests; returns its output."""
    def start(tests, *options, code=0, **variables):
        (programs.folder / "test_it.py").write_text(DEVICE + textwrap.dedent(tests), encoding="utf-8")
        return programs.command(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options, "test_it.py", code=code,
                                **variables)

    start.folder = programs.folder
    return start


LIMITED = """
    @pytest.mark.limit_device_memory("1 MiB")
    def test_small():
        device.alloc("dram", 1, 0, 1 << 20)
        device.free("dram", 1)

    @pytest.mark.limit_device_memory("1 MiB")
    def test_large():
        with memtally.tag("layer 3"):
            device.alloc("dram", 2, 0, (1 << 20) + 4)
        device.free("dram", 2)

    @pytest.mark.limit_device_memory("1 KiB", kind="l1")
    @pytest.mark.limit_device_memory("1 GiB")
    def test_kind():
        device.alloc("l1", 3, 0, 2048)
        device.free("l1", 3)

    @pytest.mark.limit_device_leaks("0 B")
    def test_leaks():
        with memtally.tag("layer 7"):
            device.alloc("dram", 4, 0, 4000)

    @pytest.mark.limit_device_leaks
    def test_clean():
        device.alloc("dram", 5, 0, 4000)
        device.free("dram", 5)

    @pytest.mark.limit_device_leaks("4000 B", kind="dram")
    def test_some_are_allowed():
        device.alloc("dram", 6, 0, 4000)
        device.alloc("l1", 6, 0, 4000)

    def test_unmarked():
        device.alloc("dram", 7, 0, 1 << 22)
"""


def test_what_is_over_its_limit_fails(pytest_run):
    out = pytest_run(LIMITED, "--junitxml=report.xml", code=1)
    assert "3 failed, 4 passed" in out
    assert "the peak of acme:0 dram was 1.0 MiB (1048580 bytes), the limit is 1 MiB" in out
    assert "the peak of acme:0 l1 was 2 KiB (2048 bytes), the limit is 1 KiB" in out
    assert "3.9 KiB (4000 bytes) in 1 buffers were left behind, the limit is 0 B" in out and "3.9 KiB: layer 7" in out
    # The worst first; tests without a mark were not watched.
    listed = [line.split()[-1] for line in out.split("device memory ")[-1].splitlines() if "::" in line and "FAILED" not in line]
    assert listed[0] == "test_it.py::test_large" and len(listed) == 6 and "test_it.py::test_unmarked" not in listed
    cases = ElementTree.parse(pytest_run.folder / "report.xml").iter("testcase")
    properties = {case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")} for case in cases}
    assert properties["test_large"] == {"memtally_peak_bytes": "1048580", "memtally_peak_exact": "true",
                                        "memtally_leaked_bytes": "0"}
    assert properties["test_leaks"]["memtally_leaked_bytes"] == "4000" and properties["test_unmarked"] == {}


def test_with_xdist(pytest_run):
    """Each worker has its tests' figures; the list at the end has them all."""
    out = pytest_run(LIMITED, "-n", "2", code=1)
    assert "3 failed, 4 passed" in out and "layer 7" in out
    assert len([line for line in out.split("device memory ")[-1].splitlines() if "::" in line and "FAILED" not in line]) == 6


def test_all_tests_on_demand(pytest_run):
    out = pytest_run(LIMITED, "--device-memory", "--device-memory-worst=1", "-k", "unmarked or small")
    assert "4 MiB         4 MiB  test_it.py::test_unmarked" in out and "test_small" not in out


CHILD = '''
    CHILD = """
    import os, memtally, sys
    device = memtally.register_device(0, vendor="acme")
    device.register_kind("dram", 1 << 30, 4)
    device.alloc("dram", 1, 0, 8000)
    if sys.argv[1] == "clean": device.free("dram", 1)
    """
    def start(how):
        import textwrap
        subprocess.run([sys.executable, "-c", textwrap.dedent(CHILD), how], check=True)
'''


def test_children_count(pytest_run):
    out = pytest_run(CHILD + """
    @pytest.mark.limit_device_memory("7 KiB")
    def test_peak():
        start("clean")

    @pytest.mark.limit_device_leaks()
    def test_leak():
        start("leak")

    @pytest.mark.limit_device_leaks()
    @pytest.mark.limit_device_memory("8000 B")
    def test_fine():
        start("clean")
    """, code=1)
    assert "2 failed, 1 passed" in out
    assert "was 7.8 KiB (8000 bytes), the limit is 7 KiB" in out
    assert "7.8 KiB (8000 bytes) in 1 buffers were left behind" in out and "ended with 7.8 KiB in 1 buffers" in out


def test_a_test_that_fails_by_itself_says_why(pytest_run):
    out = pytest_run("""
    @pytest.mark.limit_device_leaks()
    def test_wrong():
        device.alloc("dram", 1, 0, 4)
        assert 1 == 2
    """, code=1)
    assert "assert 1 == 2" in out and "left behind" not in out


@pytest.mark.parametrize(("mark", "said"), [
    ("limit_device_memory", 'needs a size: @pytest.mark.limit_device_memory("1 GiB")'),
    ("limit_device_memory('much')", "'much' is no size: write it like 4096"),
    ("limit_device_memory('1.5 B')", "there are no fractions of a byte"),
    ("limit_device_memory(-1)", "-1 is no size: it is negative"),
    ("limit_device_leaks('0 B', sort='l1')", "takes a size and perhaps a kind, not ['sort']"),
])
def test_marks_that_make_no_sense(pytest_run, mark, said):
    out = pytest_run(f"""
    @pytest.mark.{mark}
    def test_it():
        pass
    """, code=1)
    assert said in out


def test_without_a_tracker(pytest_run):
    out = pytest_run("""
    @pytest.mark.limit_device_leaks()
    def test_it():
        pass
    """, code=1, MEMTALLY=0)
    assert "limits of device memory need the tracker: MEMTALLY=0 is set" in out
