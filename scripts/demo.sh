#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows what memtally does, without any device: three processes replay recordings of real models, one of them leaks until it
# runs out of memory and is killed, and its ledger says what it held.
#
# Usage: scripts/demo.sh [--fast] BUILD_DIR       --fast, or MEMTALLY_DEMO_FAST=1: some seconds instead of half a minute
set -euo pipefail

usage() {
  printf 'Usage: %s [--fast] BUILD_DIR\n' "$0" >&2
  exit 2
}

fast=${MEMTALLY_DEMO_FAST:-0}
build=
while (($# > 0)); do
  case $1 in
    --fast) fast=1 ;;
    -*) usage ;;
    *)
      [[ -z $build ]] || usage
      build=$1
      ;;
  esac
  shift
done
[[ -n $build ]] || usage

memtally=
for place in "$build/src/tools/memtally" "$build/bin/memtally"; do
  if [[ -x $place ]]; then memtally=$place; fi
done
if [[ -z $memtally ]]; then
  printf 'demo: no memtally command in %s; build it first\n' "$build" >&2
  exit 1
fi

# An own folder, so that nothing of this machine is shown or touched.
folder=$(mktemp -d /dev/shm/memtally-demo.XXXXXX)
export MEMTALLY_DIR=$folder
started=()

# Ends what this script started, and removes its folder.
finish() {
  trap - EXIT
  for pid in "${started[@]}"; do
    kill "$pid" 2>/dev/null || true # its replaying process ends with it
  done
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Speeds are relative to the recording. The fast demo runs eight times as fast, and waits an eighth.
replay() { # NAME RECORDING SPEED CHIP_ID
  local speed=$3
  if [[ $fast == 1 ]]; then speed=$(awk -v speed="$speed" 'BEGIN { print speed * 8 }'); fi
  "$memtally" replay "$2" --name "$1" --speed "$speed" --device-id "$4" --hold >>"$folder/log" 2>&1 &
  started+=("$!")
}

pause() { # SECONDS
  local seconds=$1
  if [[ $fast == 1 ]]; then seconds=$(awk -v seconds="$seconds" 'BEGIN { print seconds / 8 }'); fi
  sleep "$seconds"
}

say() {
  printf '\n'
  printf '%s\n' "$*" | fold -s -w 100
}

show() { # ARGUMENT...: a memtally command, as one would type it, and what it prints
  local word
  printf '\n$ memtally'
  for word in "$@"; do
    if [[ $word == *' '* ]]; then word="'$word'"; fi
    printf ' %s' "$word"
  done
  printf '\n'
  "$memtally" "$@"
}

pid_of() { # NAME
  "$memtally" ps --no-clean-up | awk -v name="$1" '$4 == name { print $1; exit }'
}

# Waits until a command succeeds; a slow machine takes its time.
wait_until() { # COMMAND...
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    if "$@"; then return; fi
    sleep 0.1
  done
  printf 'demo: waited a minute in vain for: %s\n' "$*" >&2
  exit 1
}

all_are_there() { [[ -n $(pid_of llama) && -n $(pid_of resnet) && -n $(pid_of chat-server) ]]; }

memory_ran_out() { "$memtally" ps --no-clean-up | grep -q failed_allocation; }

nothing_living_holds_memory() {
  ! "$memtally" ps --no-clean-up | awk '$3 == "alive" && $7 > 0 { found = 1 } END { exit !found }'
}

# What a process holds in DRAM, in words: "550 buffers, 11.9 GiB".
sum_of() { # PID ARGUMENT...
  "$memtally" buffers --kind dram --pid "$@" |
    sed -n 's/^[0-9]* [a-z]* [^ ]* dram: \([0-9]* buffers\), .*, \([0-9.]* [A-Za-z]*\) reserved.*/\1, \2/p'
}

say "Three processes replay what real models did to the memory of a Wormhole n150, each on a card of its own: a" \
  "Llama-3.2-1B decoder, ResNet-50, and a chat server that forgets a debug copy at every eighth request. No daemon runs:" \
  "each process keeps a ledger in shared memory, and memtally reads it."
replay llama llama-1b-n150 0.036 1001
replay resnet resnet50-n150 0.052 1002
replay chat-server leak-until-oom-n150 0.0145 1003
wait_until all_are_there
pause 3
show ps
say "Llama holds its weights and cache in DRAM and its activations in L1. RESERVED is what the memory really lost," \
  "PEAK what it was at most, % the part of what the device has."

pause 5
show ps --no-clean-up
say "Llama stays as it is from step to step. The chat server only grows: $(sum_of "$(pid_of chat-server)") by now." \
  "Who holds that?"
show buffers --pid "$(pid_of chat-server)" --kind dram --by-tag --limit 6

pause 6
wait_until memory_ran_out
show ps --no-clean-up
say "The chat server asked for 32 MiB more and did not get them: that is the failed_allocation. Now it is killed, with" \
  "SIGKILL, so that it cannot say a word."

victim=$(pid_of chat-server)
kill -KILL "$victim"
pause 0.5
show ps --no-clean-up
say "Its ledger outlives it. What did it hold when it died?"
show buffers --pid "$victim" --by-tag --limit 8
say "The debug copies are the leak: $(sum_of "$victim" --tag 'debug copy'). The oldest of them, to find the first" \
  "request that was affected:"
show buffers --pid "$victim" --tag 'debug copy' --sort age --limit 4

pause 4
wait_until nothing_living_holds_memory
say "The other two have closed their devices meanwhile, and hold nothing any more:"
show ps
say "That was all. The ledgers of this demonstration are removed now."
