# SPDX-License-Identifier: Apache-2.0
"""./dev with stand-ins for the programs that it calls: its arguments, its setup and how it counts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# apt-get and dpkg-query keep the installed packages in a file; the lists are missing until `apt-get update`.
STAND_INS = {
    "dpkg-query": 'while read -r p; do echo "$p installed"; done <"$STATE/installed"',
    "apt-get": """
echo "$*" >>"$STATE/apt"
for word in "$@"; do
  case $word in update) touch "$STATE/lists" ;; --simulate) exit "${SIMULATE_STATUS-100}" ;; esac
done
[[ " $* " != *" install "* ]] && exit 0
[[ -f $STATE/lists ]] || exit 100
for word in "$@"; do [[ $word == [a-z]* && $word != install ]] && echo "$word" >>"$STATE/installed"; done
exit 0
""",
    # cmake --build --preset NAME fails if the file fail-NAME is there.
    "cmake": 'echo "cmake $*"; for word in "$@"; do [[ -f $STATE/fail-$word && $1 == --build ]] && exit 1; done; exit 0',
    # ctest hands out the file NAME.xml.
    "ctest": """
while (($# > 0)); do
  case $1 in --preset) preset=$2 ;; --output-junit) file=$2 ;; --label-regex) echo "label $2" ;; esac
  shift
done
if [[ -f $STATE/$preset.xml ]]; then cp "$STATE/$preset.xml" "$file"; fi
if [[ -f $STATE/$preset.status ]]; then exit "$(<"$STATE/$preset.status")"; fi
""",
}

PASS = '<testcase name="A.Passes" classname="A.Passes" status="run"/>'
FAIL = '<testcase name="A.Fails" classname="A.Fails" status="fail"><failure message=""/></testcase>'
SKIP = (
    '<testcase name="A.Skips" classname="A.Skips" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/>'
    "<system-out>SKIP: no device</system-out></testcase>"
)


class Tree:
    """A copy of ./dev in an empty project whose packages are all installed."""

    def __init__(self, root):
        self.root = root
        self.state = root / "state"
        self.state.mkdir(parents=True)
        for name in ("dev", "packages-debian.txt", "requirements-dev.txt", "scripts/junit_summary.py"):
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        for name, body in STAND_INS.items():
            program = root / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/bash\n{body}\n")
            program.chmod(0o755)
        lines = (line.split("#")[0].split() for line in (ROOT / "packages-debian.txt").read_text().splitlines())
        self.packages = {words[1]: words[0] for words in lines if words}
        self.set_installed(self.packages)

    def set_installed(self, names):
        (self.state / "installed").write_text("".join(f"{name}\n" for name in names))

    def set_tests(self, preset, *cases, status=0):
        (self.state / f"{preset}.xml").write_text(f"<testsuite>{''.join(cases)}</testsuite>")
        (self.state / f"{preset}.status").write_text(f"{status}\n")

    def run(self, *arguments, **environment):
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", self.root / "dev", *arguments],
            env={**os.environ, "PATH": path, "STATE": str(self.state), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def apt_calls(self):
        log = self.state / "apt"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "project")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["novelty"], "unknown command: novelty"),
        (["--novelty"], "unknown command: --novelty"),
        (["test", "--novelty"], "unknown option of ./dev test: --novelty"),
        (["test", "novelty"], "unknown stage: novelty"),
        (["test", "debug", "--quick"], "unknown stage: --quick"),
        (["test", "--quick", "debug"], "'--quick' stands alone"),
        (["test", "all", "debug"], "'all' stands alone"),
        (["build", "novelty"], "unknown preset: novelty"),
        (["build", "debug", "asan"], "one preset"),
        (["demo", "x"], "demo takes --plain, --fast and --seconds N, or --ttnn first, but got: x"),
        (["demo", "--ttnn", "--fast"], "demo --ttnn takes --plain, but got: --fast"),
        (["demo", "--fast", "--slow"], "but got: --slow"),
        (["bench", "x"], "bench takes no argument"),
        (["format", "x"], "format takes no argument"),
        (["tidy", "x"], "tidy takes no argument"),
        (["setup", "x"], "setup takes no argument"),
    ],
)
def test_wrong_arguments(tree, arguments, message):
    result = tree.run(*arguments)
    assert result.returncode == 2 and message in result.stdout, result.stdout
    assert not (tree.root / "build").exists()


def test_help(tree):
    assert tree.run("help").returncode == 0
    assert tree.run().returncode == 2
    for command in ("demo", "build", "test", "bench", "format", "tidy", "setup", "help"):
        assert f"\n  {command} " in tree.run("help").stdout


def test_demo_builds_and_passes_its_arguments_on(tree):
    command = tree.root / "build/release/src/tools/memtally"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/bash\necho "memtally $*"; exit 5\n')
    command.chmod(0o755)
    result = tree.run("demo", "--plain", "--seconds", "9")
    assert result.returncode == 5 and last_line(result) == "memtally demo --plain --seconds 9"
    assert "cmake --build --preset release" in result.stdout
    assert last_line(tree.run("demo")) == "memtally demo"


def test_a_demo_that_cannot_be_built_is_not_shown(tree):
    (tree.state / "fail-release").touch()
    result = tree.run("demo")
    assert result.returncode == 1 and "build release memtally memtally_track memtally_ttmetal: FAILED" in result.stdout


def test_nothing_is_installed_when_all_is_there(tree):
    assert tree.run("build").returncode == 0
    assert tree.apt_calls() == []


def test_missing_packages_are_named_with_the_reason_and_installed(tree):
    tree.set_installed(set(tree.packages) - {"ninja-build", "qemu-user"})
    result = tree.run("build")
    assert result.returncode == 0, result.stdout
    assert "ninja-build            runs the build\n" in result.stdout
    # A debug build does not need the Arm emulator.
    assert "qemu-user" not in result.stdout
    # The lists are fetched only after they proved to be missing.
    simulate, update, install = tree.apt_calls()
    assert "--simulate" in simulate and update.endswith("update") and install.endswith("ninja-build")
    assert "--no-install-recommends" in install
    assert tree.run("build").returncode == 0 and len(tree.apt_calls()) == 3


def test_lists_are_not_fetched_when_they_are_there(tree):
    tree.set_installed(set(tree.packages) - {"ninja-build"})
    (tree.state / "lists").touch()
    assert tree.run("build", SIMULATE_STATUS="0").returncode == 0
    assert not any(call.endswith("update") for call in tree.apt_calls())


def test_without_apt_it_says_what_it_needs(tree):
    for name in ("apt-get", "dpkg-query"):
        (tree.root / "bin" / name).unlink()
    # The programs that ./dev may rely on, and nothing else.
    for name in ("bash", "dirname", "nproc", "date"):
        (tree.root / "bin" / name).symlink_to(shutil.which(name))
    result = tree.run("build", PATH=str(tree.root / "bin"))
    assert result.returncode == 1 and "packages-debian.txt" in result.stdout, result.stdout


def last_line(result):
    assert result.stdout.endswith("\n")
    return result.stdout.splitlines()[-1]


def test_counts_over_stages(tree):
    tree.set_tests("debug", PASS, PASS, SKIP)
    tree.set_tests("asan", PASS)
    tree.set_tests("aarch64", PASS, SKIP)
    result = tree.run("test", "debug", "asan", "clang", "aarch64")
    assert result.returncode == 0, result.stdout
    # The Clang build is one test by itself.
    assert last_line(result) == "5 passed, 0 failed, 2 skipped"
    assert "\nSKIPPED debug/A.Skips: no device\n" in result.stdout
    assert "\nSKIPPED aarch64/A.Skips: no device\n" in result.stdout
    assert "label ^aarch64$" in result.stdout


def test_a_failure_does_not_stop_the_stages_behind_it(tree):
    tree.set_tests("debug", PASS, FAIL, status=8)
    tree.set_tests("asan", PASS)
    result = tree.run("test", "debug", "asan")
    assert result.returncode == 1
    assert "\nFAILED debug/A.Fails\n" in result.stdout
    assert last_line(result) == "2 passed, 1 failed, 0 skipped"


def test_a_failed_build_is_one_failure_and_is_not_tried_again(tree):
    (tree.state / "fail-clang").touch()
    tree.set_tests("debug", PASS)
    result = tree.run("test", "clang", "fuzz", "debug")
    assert result.returncode == 1
    assert result.stdout.count("cmake --build --preset clang") == 1
    assert "\nFAILED clang/build\n" in result.stdout
    assert last_line(result) == "1 passed, 1 failed, 0 skipped"


def test_a_runner_that_fails_without_a_failed_test_is_a_failure(tree):
    tree.set_tests("debug", PASS, status=1)
    result = tree.run("test", "debug")
    assert result.returncode == 1 and last_line(result) == "1 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize("stage", ["debug", "asan", "tsan", "aarch64", "fuzz"])
def test_a_stage_without_tests_is_a_failure(tree, stage):
    tree.set_tests("clang" if stage == "fuzz" else stage)
    result = tree.run("test", stage)
    assert result.returncode == 1 and f"FAILED {stage}: no test was run" in result.stdout
    assert last_line(result) == "0 passed, 1 failed, 0 skipped"


def test_a_runner_that_leaves_no_results_is_a_failure(tree):
    result = tree.run("test", "debug")
    assert result.returncode == 1 and last_line(result) == "0 passed, 1 failed, 0 skipped"


def test_release_may_have_no_tests_but_a_run_may_not(tree):
    tree.set_tests("release")
    result = tree.run("test", "release")
    assert result.returncode == 1 and "FAILED no test was run at all" in result.stdout
    tree.set_tests("debug", PASS)
    result = tree.run("test", "release", "debug")
    assert result.returncode == 0 and last_line(result) == "1 passed, 0 failed, 0 skipped"


def test_only_skipped_tests_are_not_enough(tree):
    tree.set_tests("debug", SKIP)
    result = tree.run("test", "debug")
    assert result.returncode == 1 and last_line(result) == "0 passed, 1 failed, 1 skipped"


def test_a_failed_setup_ends_in_a_report(tree):
    tree.set_installed(())
    (tree.root / "bin" / "apt-get").write_text("#!/bin/bash\nexit 100\n")
    result = tree.run("test", "debug")
    assert result.returncode == 1 and "FAILED setup" in result.stdout
    assert last_line(result) == "0 passed, 1 failed, 0 skipped"


def test_results_are_kept(tree):
    tree.set_tests("debug", PASS)
    assert tree.run("test", "debug").returncode == 0
    assert (tree.root / "build/test-results/debug.xml").is_file()
    assert not list((tree.root / "build").glob(".results.*"))
