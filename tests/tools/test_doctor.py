# SPDX-License-Identifier: Apache-2.0
"""memtally doctor: what it notices, what it says to do, and that it leaves nothing behind."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys

import pytest
from conftest import BUILD_DIR, COMMAND
from document_schemas import validate


class Doctor:
    def __init__(self, memtally):
        self.memtally = memtally

    def __call__(self, *arguments, code=0, **environment):
        done = self.memtally.run("doctor", "--json", *arguments, code=code, **environment)
        self.document = validate(json.loads(done.stdout))
        assert (self.document["result"] == "problem") == (code == 1)
        return self.document

    def of(self, topic, state=None):
        return [check for check in self.document["checks"] if check["topic"] == topic and state in (None, check["state"])]

    def says(self, topic, state, what):
        found = self.of(topic, state)
        assert any(what in check["what"] for check in found), (what, self.document["checks"])
        return found


@pytest.fixture
def doctor(memtally):
    return Doctor(memtally)


def test_all_is_right_here(doctor, memtally):
    document = doctor()
    assert document["command"] is None
    topics = [check["topic"] for check in document["checks"]]
    for topic in ("system", "identity", "proc", "limits", "settings", "directory", "library", "tracking", "ledgers", "locale"):
        assert topic in topics
    assert doctor.of("tracking") == [{"topic": "tracking", "state": "ok", "hint": "",
                                      "what": "a tracked process was started, its ledger read to the byte, and it left nothing behind"}]
    assert str(BUILD_DIR / "src/track/libmemtally.so.0") in doctor.of("library")[0]["what"]
    assert os.uname().release in doctor.of("system")[0]["what"]
    assert list(memtally.folder.iterdir()) == []
    screen = memtally.run("doctor").stdout
    assert re.search(r"(?m)^ok +tracking +a tracked process", screen)
    assert re.search(r"All is right\.|0 problems, \d+ warnings?\.", screen)


@pytest.mark.parametrize("variable", ["MEMTALLY", "TT_ALLOC_TRACKING_ENABLED"])
def test_tracking_is_turned_off(doctor, variable):
    doctor(code=1, **{variable: "0"})
    assert doctor.says("settings", "problem", f"{variable}=0")[0]["hint"] == f"unset {variable}"
    assert doctor.of("tracking", "ok")  # it would work


def test_settings(doctor, tmp_path):
    doctor(MEMTALLY="yes", MEMTALLY_PRIVATE="yes", MEMTALLY_LOG="/no/such/folder/log", MEMTALLY_DRI="x\x1b[31m")
    for what in ("MEMTALLY=yes: has no effect", "MEMTALLY_PRIVATE=yes: has no effect", "MEMTALLY_LOG=/no/such/folder/log"):
        doctor.says("settings", "warning", what)
    assert [check["hint"] for check in doctor.says("settings", "warning", "MEMTALLY_DRI") if "DRI" in check["what"]] == \
        ["is MEMTALLY_DIR meant?"]
    doctor(MEMTALLY_PRIVATE="1", MEMTALLY_LOG=str(tmp_path / "log"), MEMTALLY_TRACES="/a:/b")
    assert doctor.of("settings", "warning") == []
    doctor.says("settings", "ok", "for their user and root alone")
    doctor.says("settings", "ok", "MEMTALLY_TRACES=/a:/b")
    for value, state, what in (("stderr", "ok", "on the standard error"), (str(tmp_path), "ok", f"in {tmp_path}"),
                               ("relative", "warning", "has no effect"), ("/no/such/folder", "warning", "is no folder")):
        doctor(MEMTALLY_OOM_REPORT=value)
        doctor.says("settings", state, what)


def test_directories(doctor, tmp_path):
    doctor(code=1, MEMTALLY_DIR="/no/such/folder")
    doctor.says("directory", "problem", "No such file or directory")
    doctor.says("tracking", "problem", "the directory for ledgers does not exist")
    doctor(code=1, MEMTALLY_DIR="relative")
    doctor.says("directory", "problem", "does not begin with '/'")
    doctor(code=1, MEMTALLY_DIR="/" + "x" * 300)
    doctor.says("directory", "problem", "longer than 255 bytes")
    doctor(code=1, MEMTALLY_DIR="/dev/null")
    doctor.says("directory", "problem", "it is no folder")
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    doctor(MEMTALLY_DIR=str(open_folder))
    assert doctor.says("directory", "warning", "anybody may remove")[0]["hint"] == "chmod +t it"


def test_full_file_system(doctor, tmp_path):
    """A tmpfs of a page or two: a mount needs root and a mount namespace."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    folder = tmp_path / "small"
    folder.mkdir()
    environment = {**doctor.memtally.environment, "MEMTALLY_DIR": str(folder)}
    for pages, says in ((1, "the file system for ledgers is full"), (2, "there was no room")):
        script = f"mount -t tmpfs -o size={pages * 4}k,mode=1777 none {folder} && exec {COMMAND} doctor"
        done = subprocess.run(["unshare", "-m", "/bin/sh", "-c", script], capture_output=True, text=True, env=environment,
                              check=False, timeout=60)
        if "mount:" in done.stderr or "unshare:" in done.stderr:
            pytest.skip("may not mount here")
        assert done.returncode == 1, done.stderr
        assert re.search(r"problem +room .*is full", done.stdout)
        assert re.search(rf"problem +tracking .*{says}", done.stdout), done.stdout


def test_limits(doctor, memtally):
    done = subprocess.run([COMMAND, "doctor"], capture_output=True, text=True, env=memtally.environment, check=False, timeout=60,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    assert done.returncode == 1
    assert re.search(r"problem +limits +the limit on the size of files is 1.0 MiB", done.stdout)
    assert re.search(r"problem +tracking .*the limit on file sizes", done.stdout)


def test_what_lies_there(doctor, memtally):
    memtally.run("replay", "leak-until-oom-n150")
    (memtally.folder / f"memtally-{os.getuid()}-1-{'0' * 32}.ledger").write_bytes(b"no ledger at all")
    doctor()
    doctor.says("ledgers", "ok", "0 of living, 0 of detached and 1 of dead processes")
    doctor.says("remains", "ok", "of at most 64.0 MiB")
    doctor.says("unreadable", "warning", "MTALLYLG")
    assert len(memtally.ledgers()) == 2  # it only looks


def test_commands(doctor, tmp_path):
    document = doctor("--", "cat", "train.py")
    assert document["command"]["can_preload"] and os.path.basename(document["command"]["program"]) == "cat"
    doctor.says("command", "ok", "libmemtally will be loaded")
    assert document["command"]["frameworks"] == []
    doctor.says("hooks", "ok", "it loads no framework")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    document = doctor("--", script)
    assert document["command"]["scripts"] == [str(script)] and document["command"]["program"] == "/bin/sh"
    document = doctor("--", "/no/such/command", code=1)
    assert (document["command"]["failure"], document["command"]["can_preload"]) == (127, False)
    source = tmp_path / "static.c"
    source.write_text("int main(void) { return 0; }\n")
    if subprocess.run(["cc", "-static", source, "-o", tmp_path / "static"], capture_output=True, check=False).returncode == 0:
        document = doctor("--", tmp_path / "static", code=1)
        assert document["command"]["failure"] == 0 and not document["command"]["can_preload"]
        doctor.says("command", "problem", "will not be tracked")


def test_a_package_without_its_library(doctor, tmp_path):
    """Python finds it, and nothing of it is imported."""
    package = tmp_path / "ttnn"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit(1)\n")
    document = doctor("--", sys.executable, "model.py", PYTHONPATH=str(tmp_path))
    assert document["command"]["frameworks"] == []
    doctor.says("hooks", "warning", f"the package ttnn in {package} has no libtt_metal.so")
    (package / "libtt_metal.so").write_bytes(b"no library")
    doctor("--", sys.executable, "model.py", PYTHONPATH=str(tmp_path), code=1)
    doctor.says("hooks", "problem", "cannot be looked at: ")


def test_a_program_with_another_library_of_that_name(doctor, tmp_path):
    """The loader says what a program loads; what the hook needs is not in it."""
    (tmp_path / "library.c").write_text("int something = 1;\n")
    (tmp_path / "program.c").write_text("extern int something;\nint main(void) { return something; }\n")
    library = tmp_path / "libtt_metal.so"
    for command in (["cc", "-shared", "-fPIC", tmp_path / "library.c", "-o", library],
                    ["cc", tmp_path / "program.c", library, f"-Wl,-rpath,{tmp_path}", "-o", tmp_path / "program"]):
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("cannot be compiled here")
    document = doctor("--", tmp_path / "program", code=1)
    [framework] = document["command"]["frameworks"]
    assert (framework["name"], framework["library"], framework["records"]) == ("TT-Metal", str(library), False)
    for name in ("AllocatorImpl::allocate_buffer", "Buffer::buffer_type", "MeshDevice::get_device_ids"):
        assert name in framework["needed"].split(", ")
    doctor.says("hooks", "problem", "so its buffers are not recorded")


def test_screens(doctor):
    doctor(LC_ALL="C", TERM="dumb", LANG="")
    assert doctor.says("locale", "warning", "not UTF-8")
    doctor(LC_ALL="xx_YY.nonsense")
    doctor.says("locale", "warning", "is not installed")


def test_as_another_user(memtally):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*as_nobody, COMMAND, "--version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("the build tree is not open to other users")
    os.chmod(memtally.folder, 0o755)
    done = subprocess.run([*as_nobody, COMMAND, "doctor"], capture_output=True, text=True, env=memtally.environment, check=False)
    assert done.returncode == 1
    assert re.search(r"problem +directory .*Permission denied", done.stdout)
    assert re.search(r"problem +tracking .*no permission to create files", done.stdout)
    os.chmod(memtally.folder, 0o1777)
    done = subprocess.run([*as_nobody, COMMAND, "doctor"], capture_output=True, text=True, env=memtally.environment, check=False)
    assert done.returncode == 0, done.stdout
