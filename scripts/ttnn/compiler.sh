#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Stands in for the compiler of TT-NN's kernels on a mock board, where nothing runs them: an object is an empty file,
# a program is one instruction, linked as the caller asks. environment.py fills in the words between @.
output=
dependencies=
source=
scripts=
make_dependencies=
while [ $# -gt 0 ]; do
  case $1 in
    --version)
      cat <<'TEXT'
@VERSION@
Copyright (C) 2025 Free Software Foundation, Inc.
This is free software; see the source for copying conditions.  There is NO
warranty; not even for MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.
TEXT
      exit 0
      ;;
    -o) output=$2 && shift ;;
    -MF) dependencies=$2 && shift ;;
    -MMD | -MD) make_dependencies=1 ;;
    -T) scripts="$scripts -T $2" && shift ;;
    -L?*) scripts="$scripts $1" ;;
    -T*) scripts="$scripts -T ${1#-T}" ;;
    -Wl,*) scripts="$scripts $(printf '%s' "${1#-Wl,}" | tr ',' ' ')" ;;
    -I | -L | -D | -include | -isystem | -x) shift ;;
    -*) ;;
    *.cc | *.cpp | *.c | *.S) source=$1 ;;
  esac
  shift
done
[ -n "$output" ] || exit 1
if [ "${output%.elf}" != "$output" ]; then
  # Paths have no spaces: tt-metal itself joins them by spaces.
  # shellcheck disable=SC2086
  "@LD@" -m elf32lriscv -o "$output" "@START@" $scripts || exit 1
else
  : >"$output" || exit 1
fi
if [ -n "$make_dependencies" ] && [ -z "$dependencies" ]; then dependencies=${output%.*}.d; fi
if [ -n "$dependencies" ]; then printf '%s: %s\n' "$output" "$source" >"$dependencies"; fi
