# SPDX-License-Identifier: Apache-2.0
"""The wheel, what it brings, and what it says when something is wrong."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from wheel_build import ROOT, SITE, clean_environment, run

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"


def pythons():
    """One CPython of each version that the package is for, of those that are there."""
    found = {}
    for python in [sys.executable, *sorted(map(str, PYENV.glob("3.*/bin/python")))]:
        answer = subprocess.run([python, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"],
                                capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            found.setdefault(answer.stdout.strip(), python)
    return {version: python for version, python in found.items() if tuple(map(int, version.split("."))) >= (3, 10)}


def test_the_wheel_has_what_it_needs_and_no_more(wheel):
    assert wheel.name.startswith("memtally-0.1.0-cp310-abi3-linux_")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("_native.abi3.so", "_native.pyi", "py.typed", "lib/libmemtally.so.0", "lib/libmemtally_ttmetal.so",
                 "pytest_plugin.py"):
        assert f"memtally/{name}" in names
    assert all(name.startswith("memtally") for name in names)


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_in_an_empty_environment(programs, wheel, tmp_path, version):
    """One wheel for all versions: installed where nothing else is, and used from there."""
    python = pythons().get(version)
    if python is None:
        pytest.skip(f"no CPython {version} on this machine")
    run([python, "-m", "venv", tmp_path / "env"])
    inside = tmp_path / "env" / "bin" / "python"
    run([inside, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-index", wheel],
        env=clean_environment())
    out = programs.json("""
        device = make_device()
        with memtally.peak() as region, memtally.tag("layer 1"):
            device.alloc("dram", 1, 0x1000, 1000, 256)
            device.alloc("dram", 2, 0x2000, 1000, 256)
            device.free("dram", 2)
        now = memtally.snapshot()
        import asyncio
        @memtally.tag("step")
        async def step():
            await asyncio.sleep(0)
            device.alloc("dram", 3, 0, 4, 4)
        asyncio.run(step())
        print(json.dumps([memtally.__file__, now.by("tag"), region.bytes_reserved, region.exact,
                          [one.tag for one in memtally.snapshot().buffers if one.id == 3]]))
        """, python=inside, PYTHONPATH="")
    assert out[0].startswith(str(tmp_path))
    assert out[1:] == [{"layer 1": 1024}, 2048, True, ["step"]]


def test_importing_loads_next_to_nothing(programs):
    out = programs.json("""
        import sys
        print(json.dumps([name for name in ("typing", "dataclasses", "asyncio", "inspect", "importlib.metadata",
                                            "memtally._snapshot", "memtally._region") if name in sys.modules]))
        """)
    assert out == []


def test_says_what_is_tracked(programs):
    assert "loaded" in programs.run("print(memtally.track())")
    preloaded = programs.run("print(memtally.track(), memtally.track().preloaded)",
                             LD_PRELOAD=SITE / "memtally" / "lib" / "libmemtally.so.0")
    assert preloaded.strip().endswith("True")
    off = programs.run("""
        print(memtally.track())
        device = make_device()
        with memtally.tag("nothing"):
            device.alloc("dram", 1, 0, 1)
        device.free("dram", 1)
        print(memtally.snapshot())
        try:
            memtally.peak().__enter__()
        except RuntimeError as error:
            print(error)
        """, MEMTALLY=0)
    assert off.count("MEMTALLY=0 is set") == 2 and "nothing is tracked here" in off


def test_one_tracker_a_process(programs):
    """Another library that reports through <memtally/track.h> and the package write one ledger."""
    out = programs.json("""
        import ctypes, os
        device = make_device()
        device.alloc("dram", 1, 0, 1)
        print(json.dumps([len([name for name in os.listdir(os.environ["MEMTALLY_DIR"]) if name.endswith(".ledger")]),
                          open("/proc/self/maps").read().count("r-xp") and
                          len({line.split()[-1] for line in open("/proc/self/maps") if "libmemtally.so" in line})]))
        """, LD_PRELOAD=SITE / "memtally" / "lib" / "libmemtally.so.0")
    assert out == [1, 1]


@pytest.mark.parametrize(("call", "said"), [
    ("make_device().alloc('vram', 1, 0, 1)", "there is no kind 'vram': there are dram, l1"),
    ("make_device().alloc('dram', -1, 0, 1)", "id has to be between 0 and 2**64 - 1, not -1"),
    ("make_device().alloc('dram', 1, 0, 1.5)", "bytes_requested has to be an integer, not 1.5"),
    ("make_device().alloc('dram', 1, 0, 2**64)", "bytes_requested has to be between"),
    ("make_device().register_kind('dram', 1, 0)", "at least one bank, not 0"),
    ("memtally.register_device(id=b'x' * 17)", "at most 16 bytes, not 17"),
    ("memtally.register_device(id_scheme='name')", "one of none, chip, uuid, not 'name'"),
    ("memtally.tag(3)", "takes a name, as in memtally.tag(\"layer 3\"), not 3"),
    ("memtally.tag('x')(3)", "decorates a function"),
    ("memtally.adopt('x')", "takes what memtally.current_tag() gave"),
    ("memtally.mark(None)", "takes a name, not None"),
    ("memtally.snapshot(1 << 30)", "has no ledger"),
    ("memtally.snapshot(path='/dev/null')", "/dev/null"),
    ("memtally.snapshot(path='/nowhere/x.ledger')", "/nowhere/x.ledger"),
    ("memtally.snapshot().by('color')", "summed by tag, kind, device, group, thread_id, not by 'color'"),
    ("memtally.timeline('size')", "by 'kind' or 'tag', not by 'size'"),
    ("memtally.peak().of('dram')", "the region goes on"),
    ("memtally.peak().end()", "was not entered"),
    ("type(memtally.current_tag)()", "cannot create"),
    ("memtally.nothing", "no attribute 'nothing'"),
])
def test_errors_say_what_to_do(programs, call, said):
    out = programs.run(f"""
        try:
            {call}
        except Exception as error:
            print(type(error).__name__, error)
        """)
    assert said in out


def test_types_and_style():
    """mypy --strict over the package, ruff over it and its tests."""
    run([sys.executable, "-m", "mypy"], cwd=ROOT)
    run([sys.executable, "-m", "ruff", "check"], cwd=ROOT)
    run([sys.executable, "-m", "ruff", "format", "--check", "python"], cwd=ROOT)


def test_the_source_distribution_has_what_the_build_needs(programs, wheel, tmp_path):
    run([sys.executable, "-c", "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])",
         tmp_path], cwd=ROOT, env=clean_environment())
    (file,) = tmp_path.glob("*.tar.gz")
    import tarfile

    with tarfile.open(file) as archive:
        names = archive.getnames()
    for wanted in ("pyproject.toml", "python/native/tag.cpp", "src/track/tracker.cpp", "include/memtally/track.h",
                   "cmake/MemtallyInstall.cmake", "docs/python.md", "LICENSE"):
        assert f"memtally-0.1.0/{wanted}" in names
    assert not any("/tests/" in name or "/build/" in name for name in names)
