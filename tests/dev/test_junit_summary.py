# SPDX-License-Identifier: Apache-2.0
"""scripts/junit_summary.py on what ctest 3.25 and pytest write."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "scripts" / "junit_summary.py"

CTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="(empty)" tests="8">
  <testcase name="A.Passes" classname="A.Passes" status="run"><system-out>fine</system-out></testcase>
  <testcase name="A.Fails" classname="A.Fails" status="fail"><failure message=""/></testcase>
  <testcase name="A.Skips" classname="A.Skips" status="notrun">
    <skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
    <system-out>[ RUN      ] A.Skips
/a b/tests/a.cpp:4: Skipped
no device
 in this machine
[  SKIPPED ] A.Skips (0 ms)
</system-out>
  </testcase>
  <testcase name="by-code" classname="by-code" status="notrun">
    <skipped message="SKIP_RETURN_CODE=77"/><system-out>SKIP: not root</system-out>
  </testcase>
  <testcase name="mute" classname="mute" status="notrun">
    <skipped message="SKIP_RETURN_CODE=77"/><system-out></system-out>
  </testcase>
  <testcase name="off" classname="off" status="disabled"><system-out>Disabled</system-out></testcase>
  <testcase name="absent" classname="absent" status="notrun"><skipped message="Unable to find executable"/></testcase>
  <testcase name="whole" classname="whole" status="run">
    <system-out>[ RUN      ] B.One
tests/b.cpp:9: Skipped
no /dev/shm
[  SKIPPED ] B.One (0 ms)
[ RUN      ] B.Two
[       OK ] B.Two (0 ms)
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] B.One
</system-out>
  </testcase>
</testsuite>
"""

PYTEST = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest">
<testcase classname="tests.t" name="ok"/>
<testcase classname="tests.t" name="bad"><failure message="assert 0">trace</failure></testcase>
<testcase classname="tests.t" name="broken"><error message="teardown">trace</error></testcase>
<testcase classname="tests.t" name="skip"><skipped type="pytest.skip" message="no qemu">t.py:1</skipped></testcase>
<testcase classname="tests.t" name="known"><skipped type="pytest.xfail" message="bug"/></testcase>
</testsuite></testsuites>
"""


def summary(*paths):
    result = subprocess.run([sys.executable, PROGRAM, *paths], capture_output=True, text=True)
    return result.returncode, [tuple(line.split("\t")) for line in result.stdout.splitlines()]


def written(path, text):
    path.write_text(text)
    return path


def test_ctest(tmp_path):
    status, records = summary(written(tmp_path / "c.xml", CTEST))
    assert status == 0
    assert records == [
        ("counts", "2", "2", "5"),
        ("failed", "A.Fails"),
        ("skipped", "A.Skips", "no device in this machine"),
        ("skipped", "by-code", "not root"),
        ("skipped", "mute", "no reason given"),
        ("skipped", "off", "disabled"),
        ("failed", "absent (Unable to find executable)"),
        ("skipped", "whole/B.One", "no /dev/shm"),
    ]


def test_pytest(tmp_path):
    status, records = summary(written(tmp_path / "p.xml", PYTEST))
    assert status == 0
    assert records == [
        ("counts", "1", "2", "2"),
        ("failed", "tests.t.bad"),
        ("failed", "tests.t.broken"),
        ("skipped", "tests.t.skip", "no qemu"),
        ("skipped", "tests.t.known", "bug"),
    ]


def test_several_files_add_up_and_a_missing_one_has_no_tests(tmp_path):
    paths = written(tmp_path / "c.xml", CTEST), written(tmp_path / "p.xml", PYTEST), tmp_path / "none.xml"
    assert summary(*paths)[1][0] == ("counts", "3", "4", "7")
    assert summary(tmp_path / "none.xml") == (0, [("counts", "0", "0", "0")])


def test_what_is_not_xml_is_an_error(tmp_path):
    assert summary(written(tmp_path / "x.xml", "<testsuite>"))[0] == 1
