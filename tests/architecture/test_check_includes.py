# SPDX-License-Identifier: Apache-2.0
"""Proves that check_includes.py passes a good tree and fails on each kind of bad one."""

import subprocess
import sys
from pathlib import Path

import check_includes
import pytest

GOOD_ABI = """\
#ifndef MEMTALLY_ABI_THING_H
#define MEMTALLY_ABI_THING_H
#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif
#define MEMTALLY_ROWS 4
/* a * in a comment, and long words */
struct memtally_thing {
  uint64_t offset;
  uint32_t rows[MEMTALLY_ROWS * 2];
  union {
    uint64_t whole;
    struct { uint32_t low, high; } halves;
  } value;
} __attribute__((aligned(8 * 8)));
static inline uint64_t memtally_thing_end(const struct memtally_thing* thing) { return thing->offset + 1; }
#endif
"""

GOOD_TREE = {
    "include/memtally/abi/thing.h": GOOD_ABI,
    "include/memtally/track.h": "#include <memtally/abi/thing.h>\n",
    "include/memtally/track.hpp": "#include <memtally/track.h>\n",
    "include/memtally/ledger_reader.hpp": "#include <vector>\n#include <memtally/abi/thing.h>\n",
    "src/base/fd.hpp": "#include <unistd.h>\n",
    "src/base/fd.cpp": '#include "base/fd.hpp"\n',
    "src/ledger/ledger_writer.cpp": '#include <memtally/abi/thing.h>\n#include "base/fd.hpp"\n',
    "src/track/tracker.cpp": '#include <memtally/track.h>\n#include "ledger/ledger_writer.hpp"\n',
    "src/tools/top.cpp": '#include <CLI/CLI.hpp>\n#include "collect/snapshot.hpp"\n#include "channel/ring.hpp"\n',
    "kernel/memtally_kmod.c": "#include <linux/module.h>\n#include <memtally/abi/thing.h>\n",
}


def make_tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def found_in(root, files):
    """What the checks say about the files, as "FILE:LINE: WHAT"."""
    found, _ = check_includes.violations(make_tree(root, files))
    return [f"{file}:{line}: {wrong}" for file, line, wrong in found]


def abi_with(fields="", before="", include="#include <stdint.h>"):
    return (
        f"#ifndef T\n#define T\n#ifndef __KERNEL__\n{include}\n#else\n#include <linux/types.h>\n#endif\n"
        f"{before}\nstruct memtally_thing {{ uint32_t first; {fields} }};\n#endif\n"
    )


def test_good_tree_passes(tmp_path):
    assert found_in(tmp_path, GOOD_TREE) == []


@pytest.mark.parametrize(
    "file, include",
    [
        ("src/base/fd.cpp", '"ledger/x.hpp"'),
        ("src/base/fd.cpp", "<memtally/abi/thing.h>"),
        ("src/base/fd.cpp", "<memtally/track.h>"),
        ("src/ledger/x.cpp", '"channel/ring.hpp"'),
        ("src/ledger/x.cpp", "<memtally/channel.hpp>"),
        ("src/ledger/x.cpp", '"track/tracker.hpp"'),
        ("src/ledger/x.cpp", "<memtally/track.h>"),
        ("src/channel/ring.cpp", '"ledger/x.hpp"'),
        ("src/channel/ring.cpp", "<memtally/ledger_reader.hpp>"),
        ("src/track/x.cpp", '"channel/ring.hpp"'),
        ("src/track/x.cpp", '"collect/snapshot.hpp"'),
        ("src/track/x.cpp", '"tools/top.hpp"'),
        ("src/collect/x.cpp", '"track/tracker.hpp"'),
        ("src/collect/x.cpp", '"channel/ring.hpp"'),
        ("src/collect/x.cpp", '"daemon/server.hpp"'),
        ("src/daemon/x.cpp", '"tools/top.hpp"'),
        ("src/tools/x.cpp", '"daemon/server.hpp"'),
        ("src/tools/x.cpp", '"track/tracker.hpp"'),
        ("include/memtally/track.h", "<memtally/ledger_reader.hpp>"),
        ("include/memtally/abi/other.h", "<memtally/track.h>"),
        ("kernel/x.c", "<memtally/track.h>"),
        ("kernel/x.c", '"base/fd.hpp"'),
        ("python/x.cpp", '"ledger/x.hpp"'),
    ],
)
def test_forbidden_include(tmp_path, file, include):
    files = {name: "" for name in ("include/memtally/track.h", "include/memtally/channel.hpp")}
    files |= {"include/memtally/ledger_reader.hpp": "", "include/memtally/abi/thing.h": GOOD_ABI}
    found = found_in(tmp_path, files | {file: f"\n#include {include}\n"})
    assert any(line.startswith(f"{file}:2: ") for line in found), found


@pytest.mark.parametrize(
    "include",
    [
        '"fd.hpp"',  # a sibling
        '"../base/fd.hpp"',
        '"./fd.hpp"',
        '"memtally/ledger_reader.hpp"',
        "<base/fd.hpp>",
        '"CLI/CLI.hpp"',
        "<memtally/unheard_of.h>",
    ],
)
def test_wrong_spelling(tmp_path, include):
    files = {
        "src/base/fd.hpp": "",
        "src/ledger/fd.hpp": "",
        "include/memtally/ledger_reader.hpp": "",
        "src/ledger/x.cpp": f"#  include {include} // why\n",
    }
    found = found_in(tmp_path, files)
    assert len(found) == 1 and found[0].startswith("src/ledger/x.cpp:1: "), found


def test_header_chosen_by_processor_goes_by_its_bare_name(tmp_path):
    files = {
        "src/ledger/writer/arch/x86_64/pause.hpp": "",
        "src/ledger/writer/arch/generic/pause.hpp": "",
        "src/ledger/writer/lock.cpp": '#include "pause.hpp"\n',
    }
    assert found_in(tmp_path, files) == []
    found = found_in(tmp_path, {"src/base/x.cpp": '#include "pause.hpp"\n'})
    assert len(found) == 1 and "base may not include ledger" in found[0]


def test_quoted_installed_header_is_checked_against_the_table_too(tmp_path):
    found = found_in(tmp_path, {"src/base/x.hpp": '#include "memtally/abi/thing.h"\n'})
    assert len(found) == 2 and "base may not include abi" in found[1]


def test_include_in_a_comment_is_none(tmp_path):
    text = '// #include "tools/top.hpp"\n/*\n#include "tools/top.hpp"\n*/\n'
    assert found_in(tmp_path, {"src/base/fd.cpp": text}) == []


def test_installed_header_includes_nothing_of_src(tmp_path):
    found = found_in(tmp_path, {"include/memtally/track.h": '#include "base/fd.hpp"\n'})
    assert len(found) == 1 and "cannot include" in found[0]


@pytest.mark.parametrize(
    "file", ["src/orphan.cpp", "src/novelty/x.cpp", "include/other/x.h", "include/memtally/novelty.hpp"]
)
def test_file_outside_the_table(tmp_path, file):
    assert len(found_in(tmp_path, {file: ""})) == 1


@pytest.mark.parametrize(
    "file",
    [
        "src/base/utils.cpp",
        "src/base/string_util.hpp",
        "src/base/common/fd.hpp",
        "src/track/buffer_manager.cpp",
        "tests/helpers.py",
        "scripts/misc.sh",
    ],
)
def test_banned_name(tmp_path, file):
    found = found_in(tmp_path, {file: ""})
    assert len(found) == 1 and "is named" in found[0]


def test_word_inside_a_name_is_not_banned(tmp_path):
    assert found_in(tmp_path, {"src/base/futility.cpp": "", "src/base/miscount.hpp": ""}) == []


@pytest.mark.parametrize(
    "header, wrong",
    [
        (abi_with("uint8_t* data;"), "a pointer"),
        (abi_with("const char *name;"), "a pointer"),
        (abi_with("int (*call)(int);"), "a pointer"),
        (abi_with(before="typedef uint8_t *memtally_bytes;"), "a pointer"),
        (abi_with("struct { uint64_t a; struct { void *deep; } b; } c;"), "a pointer"),
        (abi_with("_Atomic uint32_t a;"), "_Atomic in an abi header"),
        (abi_with("uint32_t a;", before="#include <stdatomic.h>"), "not stdatomic.h"),
        (abi_with("uint32_t a;", before="#include <linux/ioctl.h>"), "not linux/ioctl.h"),
        (abi_with("unsigned long a;"), "long has no fixed width"),
        (abi_with("size_t a;", include="#include <stdint.h>\n#include <stddef.h>"), "size_t has no fixed width"),
        (abi_with("uintptr_t a;"), "uintptr_t has no fixed width"),
        ("#include <stdint.h>\n", "guarded by __KERNEL__"),
        ("#ifdef __KERNEL__\n#endif\n#include <stdint.h>\n", "guarded by __KERNEL__"),
        (abi_with("uint32_t a; uint32_t a;"), "does not compile as C11"),
        (abi_with("uint32_t class;"), "does not compile as C++20"),
        (abi_with(before="#ifdef __KERNEL__\nstrange thing;\n#endif"), "does not compile as kernel C"),
    ],
)
def test_bad_abi_header(tmp_path, header, wrong):
    found = found_in(tmp_path, {"include/memtally/abi/thing.h": header})
    assert any(wrong in line for line in found), found


def test_abi_folder_has_c_headers_only(tmp_path):
    found = found_in(tmp_path, {"include/memtally/abi/thing.hpp": ""})
    assert len(found) == 1 and "C headers only" in found[0]


# Put together at run time: this file is checked too.
@pytest.mark.parametrize("folder", ["work", "root", "farm"])
@pytest.mark.parametrize("before", ["", '"', "cd ", "=", "file://"])
def test_machine_path(tmp_path, folder, before):
    found = found_in(tmp_path, {"docs/x.md": f"\n{before}/{folder}/x\n"})
    assert found == [f"docs/x.md:2: /{folder}/ is a folder of one machine"]


@pytest.mark.parametrize("text", ["a/work/b", "/proc/1/root/x", "/proc/<pid>/root/x", "build/work/", "/workshop/"])
def test_other_paths_are_fine(tmp_path, text):
    assert found_in(tmp_path, {"docs/x.md": text}) == []


def test_machine_path_with_leave(tmp_path):
    line = f"/{'root'}/dev/shm  # {check_includes.NOT_A_MACHINE_PATH}"
    assert found_in(tmp_path, {"docs/x.md": line}) == []


def test_binary_files_have_no_paths(tmp_path):
    make_tree(tmp_path, {})
    (tmp_path / "trace.bin").write_bytes(b"\0 /" + b"work/x")
    assert found_in(tmp_path, {}) == []


def test_in_a_repository_ignored_files_do_not_count_and_untracked_sources_do(tmp_path):
    make_tree(tmp_path, {".gitignore": "out/\n", "out/utils.cpp": "", "src/base/utils.cpp": ""})
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    found = found_in(tmp_path, {"note.txt": f"/{'work'}/x"})
    assert len(found) == 1 and found[0].startswith("src/base/utils.cpp")
    subprocess.run(["git", "-C", str(tmp_path), "add", "note.txt"], check=True)
    assert len(found_in(tmp_path, {})) == 2


def run_program(root):
    script = Path(check_includes.__file__)
    return subprocess.run([sys.executable, str(script), str(root)], capture_output=True, text=True)


def test_program_exit_status(tmp_path):
    good = run_program(make_tree(tmp_path / "good", GOOD_TREE))
    assert good.returncode == 0 and good.stdout.endswith(" 0 violations\n"), good.stdout
    bad = run_program(make_tree(tmp_path / "bad", GOOD_TREE | {"src/base/x.cpp": '#include "tools/y.hpp"\n'}))
    assert bad.returncode == 1 and "src/base/x.cpp:1: base may not include tools" in bad.stdout


def test_empty_tree_is_an_error(tmp_path):
    empty = run_program(tmp_path)
    assert empty.returncode == 1 and "no source file" in empty.stdout
