# SPDX-License-Identifier: Apache-2.0
# bash completion for memtally

# Names of the recordings that 'memtally replay' finds by itself.
_memtally_recordings() {
  local -a folders=()
  local command folder file name
  IFS=: read -r -a folders <<<"${MEMTALLY_TRACES-}"
  command=$(type -P memtally) && folders+=("$(dirname "$command")/../share/memtally/traces")
  for folder in "${folders[@]}"; do
    for file in "$folder"/*.trace "$folder"/*.trace.zst; do
      [[ -e $file ]] || continue
      name=${file##*/}
      name=${name%.zst}
      printf '%s\n' "${name%.trace}"
    done
  done
}

_memtally() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} subcommand='' word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      top | ps | buffers | devices | leaks | tags | events | snapshot | channels | oom | clash | run | doctor | monitor | replay | demo | bench)
        subcommand=$word
        break
        ;;
    esac
  done
  COMPREPLY=()
  if [[ $subcommand == run || $subcommand == doctor ]]; then
    # Behind "--" stands a command, with completions of its own.
    local at
    for ((at = 1; at < COMP_CWORD; ++at)); do
      if [[ ${COMP_WORDS[at]} == -- ]] && declare -F _command_offset >/dev/null; then
        _command_offset $((at + 1))
        return
      elif [[ ${COMP_WORDS[at]} == -- ]]; then
        mapfile -t COMPREPLY < <(compgen -c -f -- "$current")
        return
      fi
    done
  fi
  local words='' files='' view='--json --watch --color --no-pager --help'
  case $previous in
    --kind) words='dram l1 l1_small trace system_memory cb dfb kernel cuda_device cuda_managed host_pinned' ;;
    --sort)
      case $subcommand in
        ps) words='state pid user command held peak start' ;;
        tags) words='size name count' ;;
        *) words='size age id address' ;;
      esac
      ;;
    --state) words='alive detached dead' ;;
    --level) words='totals everything' ;;
    --op) words='alloc free alloc_failed mark open close replace unknown_free ambiguous_free inherited_free after_close duplicate_reporter no_room' ;;
    --by) words='tag kind size' ;;
    --color) words='auto always never' ;;
    --user) words=$(compgen -u) ;;
    --transport) words='ledger blocking hybrid async batch' ;;
    --speed) words='recorded max' ;;
    --generate) words='churn cross-thread-frees double-allocations failures' ;;
    --ledger | --suppressions | --report | --output | -o) files=yes ;;
    --pid) words=$(memtally ps --no-clean-up 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $1 }' | sort -u) ;;
    --device | --device-id | --device-index | --limit | --tag | --processes | --name | --kill-after | --random-kill | --repeat | --events | --seed | --refresh | -r | --frames | -d | --seconds | --watch | --only | --bytes | --group | --depth | --older-than | -n) return ;;
    *)
      case $subcommand in
        '') words='top ps buffers devices leaks tags events snapshot channels oom clash run doctor monitor replay demo bench --color --no-pager --help --version' ;;
        monitor) words='--refresh --device --all --frames --help' ;;
        bench) words='events channels --json --quick --only --help' ;;
        channels) words="$view" ;;
        top) words='--refresh --device --readonly --once --frames --ascii --color --help' ;;
        ps) words="--pid --user --state --device --sort --all --no-clean-up $view" ;;
        buffers) words="--pid --ledger --all --user --state --device --kind --tag --sort --limit --by --by-tag $view" ;;
        oom) words="--pid --ledger --all --user --state --device --kind --bytes $view" ;;
        clash) words="--pid --ledger --all --user --state --device --group $view" ;;
        devices) words="--device --all $view" ;;
        leaks) words="--pid --ledger --all --user --state --kind --tag --older-than --suppressions --fail --limit $view" ;;
        tags) words="--pid --ledger --all --user --state --device --kind --tag --merge --depth --sort --bars $view" ;;
        events) words="--pid --ledger --all --user --state --kind --tag --op --limit --follow $view" ;;
        snapshot) words="--level --pid --ledger --all $view" ;;
        doctor) words='--json --color --no-pager --help --' ;;
        run) words='--report --name --quiet --no-hooks --fail-on-leak --suppressions --limit --strict --help --' ;;
        demo) words='--plain --fast --legacy --seconds --help' ;;
        replay)
          if [[ $current == -* ]]; then
            words='--speed --processes --threads --device-id --device-index --name --check --kill-after --random-kill
                   --repeat --hold --loop --keep-going --generate --events --seed --output --transport --help'
          else
            words=$(_memtally_recordings)
            files=yes
          fi
          ;;
      esac
      ;;
  esac
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
  if [[ -n $files ]]; then
    compopt -o filenames 2>/dev/null
    local -a found
    mapfile -t found < <(compgen -f -- "$current")
    COMPREPLY+=("${found[@]}")
  fi
}

complete -F _memtally memtally
