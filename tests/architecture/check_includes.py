#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of the source tree that a compiler does not: who may include whom, and what abi headers may hold.

Usage: check_includes.py [ROOT]

Prints "FILE:LINE: what is wrong" for each violation; exit status 1 if there is any, or if there is nothing to check.

The rules:
  1. A folder includes only the folders that ALLOWED names, and itself.
  2. Headers of ours are written one way: "folder/name.hpp" for src/, <memtally/name.h> for include/. Installed
     headers include only installed headers. A header of which the build chooses one by processor lies in a folder
     arch/PROCESSOR/ and goes by its bare name, "name.hpp".
  3. No file or folder is named for being shared or in charge (utils, common, helpers, misc, manager).
  4. A header in include/memtally/abi/ compiles as C11, as C++20 and as in a kernel; it includes <linux/types.h>
     or, outside a kernel only, <stdint.h>; it has no pointer, no _Atomic and no type whose width varies.
  5. No file names a folder of one machine. A line that has to says NOT_A_MACHINE_PATH.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

# Folder -> the folders of ours that it may include, besides itself. A folder that is not here is a violation.
# "api" is the tracker's public interface, memtally/track.h and track.hpp.
ALLOWED = {
    "abi": set(),
    "base": set(),
    "ledger": {"abi", "base"},
    "channel": {"abi", "base"},
    "api": {"abi"},
    "track": {"abi", "base", "ledger", "api"},
    "collect": {"abi", "base", "ledger"},
    "daemon": {"abi", "base", "ledger", "channel", "collect", "api"},
    "tools": {"abi", "base", "ledger", "channel", "collect", "api"},
    "kernel": {"abi"},
    # Only through installed headers, see rule 2.
    "python": {"abi", "ledger", "channel", "api"},
}

# Installed header -> the folder whose interface it is. abi/ is a folder by itself; a version is as plain as abi.
INSTALLED = {
    "version.h": "abi",
    "track.h": "api",
    "track.hpp": "api",
    "tt_metal.hpp": "api",
    "hook.h": "api",
    "allocation_client.hpp": "api",
    "ledger_reader.hpp": "ledger",
    "channel.hpp": "channel",
    **{f"channel/{name}.hpp": "channel" for name in (
        "access", "batch", "consumer", "endpoint", "event", "messages", "options", "producer", "ring_broadcast", "ring_mpmc", "ring_mpsc", "ring_spsc")},
}

SOURCE_SUFFIXES = {".c", ".h", ".cc", ".cpp", ".hpp", ".inc", ".S"}
SOURCE_ROOTS = ("include", "src", "kernel", "python")
SKIPPED_FOLDERS = {".git", ".venv", "build", "__pycache__"}

BANNED_WORDS = {
    "util", "utils", "utility", "utilities", "common", "helper", "helpers", "misc", "manager", "managers",
}

NOT_A_MACHINE_PATH = "not-a-machine-path"
MACHINE_PATH = re.compile(r"(?<![\w.>)}\]*-])/(?:work|root|farm)/")

INCLUDE = re.compile(r'^\s*#\s*include(?:_next)?\s*([<"])([^>"]+)[>"]')
CONDITIONAL = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b(.*)")
COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)

# Their width depends on the machine, or on whether a kernel compiles.
VARYING_TYPES = re.compile(
    r"\b(?:u?intptr_t|ptrdiff_t|s?size_t|u?int_(?:fast|least)\d+_t|off_t|time_t|wchar_t|long|enum(?=\s+\w+\s+\w+\s*[;\[]))\b"
)

# Types that a kernel has in <linux/types.h>.
KERNEL_TYPES = "typedef _Bool bool;\ntypedef unsigned long size_t;\n" + "\n".join(
    f"typedef {'un' if sign == 'u' else ''}signed {kind} {spelling};"
    for bits, kind in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
    for sign in "us"
    for spelling in (f"{sign}{bits}", f"__{sign}{bits}", f"{'u' if sign == 'u' else ''}int{bits}_t")
)

COMPILES = (
    ("C11", ["gcc", "-x", "c", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"], ""),
    ("C++20", ["g++", "-x", "c++", "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror"], ""),
    ("kernel C", ["gcc", "-x", "c", "-std=gnu11", "-ffreestanding", "-nostdinc", "-D__KERNEL__", "-Wall", "-Werror"],
     KERNEL_TYPES),
)


def tree_files(root, untracked):
    """Paths relative to root: those that git tracks (and those it would, if untracked), or all where there is no git."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached"]
    if untracked:
        command += ["--others", "--exclude-standard"]
    try:
        # A root inside somebody else's repository is not a repository of ours.
        if (root / ".git").exists():
            names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
            return sorted({PurePosixPath(n) for n in names if n and (root / n).is_file()})
    except (OSError, subprocess.CalledProcessError):
        pass
    return sorted(
        PurePosixPath(path.relative_to(root).as_posix())
        for path in root.rglob("*")
        if path.is_file() and not SKIPPED_FOLDERS.intersection(path.relative_to(root).parts)
    )


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def blank_comments(text):
    """The text without comments and string contents; line numbers stay."""
    return COMMENT_OR_STRING.sub(
        lambda m: re.sub(r"[^\n]", " ", m[0]) if m[0][0] == "/" else '""', text
    )


def without_comments(text):
    """The text without comments; strings (and so include names) stay."""
    return COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m[0]) if m[0][0] == "/" else m[0], text)


def folder_of(file):
    """The folder in ALLOWED that a source file belongs to, or None with what is wrong."""
    top, rest = file.parts[0], file.parts[1:]
    if top in ("kernel", "python"):
        return top, None
    if top == "src":
        if len(rest) < 2:
            return None, "a source file lies in a folder of src/, not in src/ itself"
        if rest[0] not in ALLOWED or rest[0] in ("abi", "api", "kernel", "python"):
            return None, f"src/{rest[0]}/ is not in the include table"
        return rest[0], None
    if rest[:1] != ("memtally",):
        return None, "installed headers lie in include/memtally/"
    if rest[1] == "abi":
        return "abi", None
    name = "/".join(rest[1:])
    if name not in INSTALLED:
        return None, f"the installed header {name} has no owner in check_includes.py"
    return INSTALLED[name], None


def chosen_by_processor(root, name):
    """The folder that owns a header in arch/PROCESSOR/, or None."""
    for path in root.glob(f"src/*/**/arch/*/{name}") if "/" not in name else ():
        return path.relative_to(root / "src").parts[0]
    return None


def check_include(root, file, folder, quote, name):
    """Yields what is wrong with one #include line."""
    parts = PurePosixPath(name).parts
    installed_includer = file.parts[0] == "include"
    if quote == '"' and (".." in parts or "." in name.split("/")):
        yield f'"{name}": no relative paths; src/ is the include root'
        return
    if parts[0] == "memtally":
        if quote == '"':
            yield f'"{name}" is installed: write <{name}>'
        rest = name.removeprefix("memtally/")
        target = "abi" if rest.startswith("abi/") else INSTALLED.get(rest)
        if target is None:
            yield f"<{name}> is not an installed header that check_includes.py knows"
            return
    elif quote == "<":
        if not (parts[0] in ALLOWED and (root / "src" / name).exists()):
            return
        yield f'<{name}> is ours: write "{name}"'
        target = parts[0]
    else:
        if installed_includer:
            yield f'an installed header cannot include "{name}": only <memtally/...> is installed'
            return
        beside = (root / file.parent / name).exists()
        if folder in ("kernel", "python"):
            if not beside:
                yield f'{folder}/ may include installed headers of ours only, not "{name}"'
            return
        chosen = chosen_by_processor(root, name)
        if chosen:
            target = chosen
        elif len(parts) >= 2 and parts[0] in ALLOWED:
            target = parts[0]
        else:
            if beside:
                yield f'write "{(file.parent / name).relative_to("src")}": src/ is the include root'
            else:
                yield f'"{name}" is not a header of ours: write <{name}>, or "folder/{parts[-1]}"'
            return
    if target != folder and target not in ALLOWED[folder]:
        may = ", ".join(sorted(ALLOWED[folder])) or "nothing of ours"
        yield f"{folder} may not include {target} ({name}); it may include: {may}"


def check_includes(root, files):
    for file in files:
        if file.parts[0] not in SOURCE_ROOTS or file.suffix not in SOURCE_SUFFIXES:
            continue
        folder, wrong = folder_of(file)
        if wrong:
            yield file, 1, wrong
            continue
        for number, line in enumerate(without_comments(read(root / file)).split("\n"), 1):
            match = INCLUDE.match(line)
            if match:
                for wrong in check_include(root, file, folder, match[1], match[2]):
                    yield file, number, wrong


def check_names(files):
    seen = set()
    for file in files:
        for depth, part in enumerate(file.parts):
            if file.parts[: depth + 1] in seen:
                continue
            seen.add(file.parts[: depth + 1])
            stem = part.split(".")[0] if depth == len(file.parts) - 1 else part
            banned = BANNED_WORDS.intersection(re.split(r"[_\-]", stem.lower()))
            if banned:
                yield file, 1, f"'{part}' is named {banned.pop()}: name it after the one noun that it is about"


def check_abi_text(text):
    """Yields (line, what is wrong) for the includes and types of one abi header."""
    conditions = []
    for number, line in enumerate(without_comments(text).split("\n"), 1):
        conditional = CONDITIONAL.match(line)
        if conditional:
            word, rest = conditional[1], conditional[2]
            if word in ("if", "ifdef", "ifndef"):
                conditions.append(rest)
            elif word == "endif" and conditions:
                conditions.pop()
            elif word == "elif" and conditions:
                conditions[-1] += rest
        include = INCLUDE.match(line)
        if not include or include[2].startswith("memtally/"):
            continue
        if include[2] not in ("linux/types.h", "stdint.h"):
            yield number, f"an abi header includes <linux/types.h> or <stdint.h> only, not {include[2]}"
        elif include[2] == "stdint.h" and not any("__KERNEL__" in c for c in conditions):
            yield number, "<stdint.h> has to be guarded by __KERNEL__: a kernel has none"

    code = blank_comments(text)
    # Preprocessor lines, with their continuations, are not declarations.
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m[0].count("\n"), code, flags=re.MULTILINE)
    for match in re.finditer(r"\b(?:_Atomic|atomic_\w+|std\s*::\s*atomic)\b", code):
        yield code.count("\n", 0, match.start()) + 1, f"{match[0]} in an abi header: a kernel has none"
    for start, end in declarations(code):
        # A product inside an array size, an attribute or a bit width is no pointer.
        body = re.sub(r"\[[^\]]*\]|__attribute__\s*\(\(.*?\)\)|_Alignas\s*\([^()]*\)|alignas\s*\([^()]*\)",
                      lambda m: re.sub(r"[^\n]", " ", m[0]), code[start:end], flags=re.DOTALL)
        for match in re.finditer(r"\*", body):
            yield code.count("\n", 0, start + match.start()) + 1, "a pointer in an abi header: store an offset"
        for match in VARYING_TYPES.finditer(body):
            line = code.count("\n", 0, start + match.start()) + 1
            yield line, f"{match[0]} has no fixed width: use a type such as uint64_t"


def declarations(code):
    """Ranges of struct and union bodies (outermost) and of typedefs."""
    position = 0
    start_of = re.compile(r"\b(?:struct|union)\b[^;{}()=]*\{|\btypedef\b")
    while match := start_of.search(code, position):
        depth, position = (1 if match[0].endswith("{") else 0), match.end()
        while position < len(code) and (depth > 0 or (match[0] == "typedef" and code[position] != ";")):
            depth += {"{": 1, "}": -1}.get(code[position], 0)
            position += 1
        yield match.start(), position


def check_abi(root, files):
    headers = [f for f in files if f.parts[:3] == ("include", "memtally", "abi")]
    for file in headers:
        if file.suffix != ".h":
            yield file, 1, "include/memtally/abi/ has C headers only, named .h"
            continue
        for number, wrong in check_abi_text(read(root / file)):
            yield file, number, wrong
    headers = [f for f in headers if f.suffix == ".h"]
    if not headers:
        return
    with tempfile.TemporaryDirectory() as kernel:
        (Path(kernel) / "linux").mkdir()
        (Path(kernel) / "linux" / "types.h").write_text(KERNEL_TYPES + "\n")
        for file in headers:
            for language, command, types in COMPILES:
                command = command + ["-fsyntax-only", "-I", str(root / "include")]
                if types:
                    command += ["-isystem", kernel]
                source = f"#include <{'/'.join(file.parts[1:])}>\n"
                result = subprocess.run(command + ["-"], input=source, capture_output=True, text=True)
                if result.returncode != 0:
                    yield file, 1, f"does not compile as {language}:\n{result.stderr.rstrip()}"


def check_paths(root, files):
    for file in files:
        data = (root / file).read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.decode("utf-8", errors="replace").split("\n"), 1):
            match = MACHINE_PATH.search(line)
            if match and NOT_A_MACHINE_PATH not in line:
                yield file, number, f"{match[0]} is a folder of one machine"


def violations(root):
    """All violations under root, and how many source files were looked at."""
    root = Path(root)
    files = tree_files(root, untracked=True)
    found = [
        *check_includes(root, files),
        *check_names(files),
        *check_abi(root, files),
        *check_paths(root, tree_files(root, untracked=False)),
    ]
    sources = [f for f in files if f.parts[0] in ("include", "src") and f.suffix in SOURCE_SUFFIXES]
    return found, len(sources)


def main(arguments):
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2]
    found, sources = violations(root)
    for file, number, wrong in found:
        print(f"{file}:{number}: {wrong}")
    if sources == 0:
        print(f"{root}: no source file in include/ or src/")
        return 1
    print(f"{sources} source files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
