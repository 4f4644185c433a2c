// SPDX-License-Identifier: Apache-2.0
#include <memtally/track.hpp>

#include "host_program.h"

int main(int argc, char** argv) { return run_host_program(argc, argv); }
