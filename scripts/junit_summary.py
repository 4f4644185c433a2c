#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the tests in JUnit XML files as written by ctest 3.25 and by pytest.

Usage: junit_summary.py FILE...

Prints one record a line, its fields split by tabs:
    counts   PASSED  FAILED  SKIPPED
    failed   NAME
    skipped  NAME    REASON
A missing file has no tests. A file that is not XML is an error (exit status 1).

ctest gives the status "notrun" both to a test that asked to be skipped and to one that it could not start. Only the
first is a skip; the second is a failure. Where one ctest test is a whole GoogleTest program, it counts as one passed
test, and each test that it skipped inside counts as skipped.
"""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

# What ctest 3.25 writes where a test asked to be left out.
CTEST_SKIPS = ("SKIP_RETURN_CODE=", "SKIP_REGULAR_EXPRESSION_MATCHED")

# GoogleTest prints "file:line: Skipped", the message, then the name.
GTEST_SKIP = re.compile(r"(?:^.+:\d+: Skipped\n(?P<reason>(?:(?!^\[).*\n)*))?^\[  SKIPPED \] (?P<name>\S+) \(\d+ ms\)", re.M)

# Any other program: a line that says that it skips, and why.
PLAIN_SKIP = re.compile(r"^\s*skip(?:ped|ping)?\b[:\s]*(.+)$", re.M | re.I)


def one_line(text):
    return " ".join(text.split())


def skip_reason(output):
    """The reason that a skipped test printed, or "" if none can be told apart from the rest of its output."""
    gtest = GTEST_SKIP.search(output)
    if gtest:
        return one_line(gtest["reason"] or "")
    plain = PLAIN_SKIP.search(output)
    return one_line(plain[1]) if plain else ""


def case_name(case):
    name = case.get("name", "?")
    group = case.get("classname", "")
    # ctest repeats the name as the class name.
    return name if group in ("", name) else f"{group}.{name}"


def case_results(case):
    """[(name, "passed" | "failed" | "skipped", reason)] of one <testcase>; the first entry is the case itself."""
    name = case_name(case)
    status = case.get("status")
    skipped = case.find("skipped")
    output = case.findtext("system-out") or ""
    if case.find("failure") is not None or case.find("error") is not None or status == "fail":
        return [(name, "failed", "")]
    if status == "disabled":
        return [(name, "skipped", "disabled")]
    if skipped is not None:
        message = one_line(skipped.get("message") or skipped.text or "")
        if status == "notrun":
            if not message.startswith(CTEST_SKIPS):
                return [(name, "failed", message)]
            message = skip_reason(output)
        return [(name, "skipped", message or "no reason given")]
    inner = [
        (f"{name}/{skip['name']}", "skipped", one_line(skip["reason"] or "") or "no reason given")
        for skip in GTEST_SKIP.finditer(output)
    ]
    return [(name, "passed", "")] + inner


def summarize(paths):
    """[(name, result, reason)] over all files."""
    results = []
    for path in paths:
        if Path(path).is_file():
            for case in ET.parse(path).getroot().iter("testcase"):
                results += case_results(case)
    return results


def main(paths):
    try:
        results = summarize(paths)
    except ET.ParseError as error:
        print(f"junit_summary: not JUnit XML: {error}", file=sys.stderr)
        return 1
    counts = [sum(1 for _, result, _ in results if result == kind) for kind in ("passed", "failed", "skipped")]
    print("counts", *counts, sep="\t")
    for name, result, reason in results:
        if result == "failed":
            print("failed", f"{name} ({reason})" if reason else name, sep="\t")
        elif result == "skipped":
            print("skipped", name, reason, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
