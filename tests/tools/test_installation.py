# SPDX-License-Identifier: Apache-2.0
"""An installed memtally: programs of others find it through CMake, and the command finds its libraries, wherever it lies."""

import os
import shutil
import subprocess

import pytest
from conftest import BUILD_DIR, ROOT

CONSUMER = """
cmake_minimum_required(VERSION 3.25)
project(consumer C CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(memtally 0.1 REQUIRED)
add_executable(first first.c)
target_link_libraries(first PRIVATE memtally::track)
add_executable(reader reader.cpp)
target_link_libraries(reader PRIVATE memtally::reader)
add_executable(channel channel.cpp)
target_link_libraries(channel PRIVATE memtally::channel)
add_executable(legacy legacy.cpp)
target_link_libraries(legacy PRIVATE memtally::allocation_client)
"""
READER = """
#include <memtally/ledger_reader.hpp>
int main() { return memtally::FindLedgers().empty() ? 0 : 1; }
"""
CHANNEL = """
#include <cstdio>
#include <memtally/channel.hpp>
using namespace memtally;
int main() {
  auto channel = create_channel("memory://installed", 1 << 16, ChannelMode::SPSC);
  FloatVector message(*channel, 3);
  message[0] = 1.5f;
  channel->send(message);
  auto received = channel->receive<FloatVector>();
  std::printf("%.1f\\n", received ? (*received)[0] : 0.0f);
}
"""


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_programs_of_others_find_it(memtally, tmp_path):
    if not (BUILD_DIR / "cmake_install.cmake").exists() or shutil.which("cmake") is None:
        pytest.skip("needs a build tree and cmake")
    prefix = tmp_path / "prefix"
    run("cmake", "--install", BUILD_DIR, "--prefix", prefix)
    moved = tmp_path / "moved"
    prefix.rename(moved)
    consumer = tmp_path / "consumer"
    consumer.mkdir()
    (consumer / "CMakeLists.txt").write_text(CONSUMER)
    (consumer / "reader.cpp").write_text(READER)
    (consumer / "channel.cpp").write_text(CHANNEL)
    shutil.copy(ROOT / "examples" / "first.c", consumer)
    shutil.copy(ROOT / "examples" / "legacy_client.cpp", consumer / "legacy.cpp")
    build = tmp_path / "build"
    run("cmake", "-S", consumer, "-B", build, f"-DCMAKE_PREFIX_PATH={moved}", "-DCMAKE_BUILD_TYPE=Debug")
    run("cmake", "--build", build, "--parallel", os.cpu_count() or 1)
    environment = memtally.environment
    run(build / "reader", env=environment)
    assert run(build / "channel", env=environment) == "1.5\n"
    with subprocess.Popen([build / "first"], env=environment) as first:
        try:
            text = ""
            for _ in range(600):
                text = run(moved / "bin" / "memtally", "ps", env=environment)
                if " first " in text:
                    break
            assert " first " in text and "alive" in text
        finally:
            first.kill()
    assert str(moved) in run(moved / "bin" / "memtally", "run", "--", "/bin/sh", "-c", "echo $LD_PRELOAD", env=environment)
