# bash completion for teacup; source it, or install it as /usr/share/bash-completion/completions/teacup.

# Files and directories that begin with $1, as completions.
_teacup_paths() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_teacup_run() {
  local current=$1 i=2 word
  # Options end at IMAGE; behind it nothing is ours to complete but, perhaps, a host path.
  while ((i < COMP_CWORD)); do
    word=${COMP_WORDS[i]}
    case $word in
      -e | --env | --env-file | -w | --workdir | -u | --user | --entrypoint | --hostname | --layer | -v | --volume | --tmpfs | --upper | --export | -p | --publish | --network | --allow-net | --hosts | --connect | -m | --memory | --mode | --patch | --cpu)
        # bash splits at "=" and ":"; a value may be several words.
        i=$((i + 1))
        [[ ${COMP_WORDS[i]-} != = ]] || i=$((i + 1))
        while [[ ${COMP_WORDS[i + 1]-} == [=:]* ]]; do i=$((i + 2)); done
        ;;
      --trace | --trace-files | --stats | --crash-report | --gdb) [[ ${COMP_WORDS[i + 1]-} != = ]] || i=$((i + 2)) ;;
      -*) ;;
      *) return ;;
    esac
    i=$((i + 1))
  done
  ((i == COMP_CWORD)) || return
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W '-e --env --env-file -w --workdir -u --user --entrypoint --hostname --layer -v --volume --tmpfs
      --upper --export --read-only -p --publish --network --allow-net --hosts --connect -m
      --memory -i --interactive -t --tty --rm --mode --patch --cpu --trace --trace-files --stats --crash-report --gdb --perf-map --print-host-surface -h --help' -- "$current")
  else
    _teacup_paths "$current"
  fi
}

# IMAGE, then what is in it: PATHs, below the directory that is written already.
_teacup_image_paths() {
  local current=$1 i image='' directory=
  for ((i = 2; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -* ]] || { image=${COMP_WORDS[i]}; break; }
  done
  if [[ -z $image ]]; then
    _teacup_paths "$current"
    return
  fi
  [[ $current != */* ]] || directory=${current%/*}/
  compopt -o nospace -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(teacup ls -1 "${image/#\~/$HOME}" "${directory:-/}/" 2>/dev/null |
    sed "s|^|$directory|" | grep -F -- "$current" | grep "^$current")
}

_teacup() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W 'run pack ls cat stat inspect mount diff commit export rewrite help version' -- "$current")
    return
  fi
  case ${COMP_WORDS[1]}:$previous in
    run:--mode) mapfile -t COMPREPLY < <(compgen -W 'rewrite trap' -- "$current") ;;
    run:--network) mapfile -t COMPREPLY < <(compgen -W 'none loopback host-proxy' -- "$current") ;;
    run:--patch) mapfile -t COMPREPLY < <(compgen -W 'cpuid rdtsc none' -- "$current") ;;
    run:--cpu) mapfile -t COMPREPLY < <(compgen -W 'host x86-64 x86-64-v2 x86-64-v3 x86-64-v4' -- "$current") ;;
    run:--env-file | run:--layer | run:--upper | run:-v | run:--volume) _teacup_paths "$current" ;;
    run:-e | run:--env) mapfile -t COMPREPLY < <(compgen -v -- "$current") ;;
    run:*) _teacup_run "$current" ;;
    pack:-f | pack:--format) mapfile -t COMPREPLY < <(compgen -W 'erofs squashfs ext4' -- "$current") ;;
    pack:--compression) mapfile -t COMPREPLY < <(compgen -W 'gzip lz4 xz zstd' -- "$current") ;;
    pack:--trace) _teacup_paths "$current" ;;
    pack:--label) ;;
    pack:*)
      if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-f --format --compression --slim --trace --root-owned --label -q --quiet -h --help' -- "$current")
      else
        _teacup_paths "$current"
      fi
      ;;
    ls:* | cat:* | stat:* | inspect:*)
      # PATHs are the image's; IMAGE is the first word that is no option.
      if [[ $current == -* ]]; then
        case ${COMP_WORDS[1]} in
          ls) mapfile -t COMPREPLY < <(compgen -W '-l --long -1 --names -R --recursive -d --directory -n --numeric --json -h --help' -- "$current") ;;
          cat) mapfile -t COMPREPLY < <(compgen -W '-h --help' -- "$current") ;;
          stat) mapfile -t COMPREPLY < <(compgen -W '-L --dereference --json -h --help' -- "$current") ;;
          inspect) mapfile -t COMPREPLY < <(compgen -W '--digest --json -h --help' -- "$current") ;;
        esac
      else
        _teacup_image_paths "$current"
      fi
      ;;
    mount:-m | mount:--memory) ;;
    mount:*)
      if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-w --rw -m --memory -f --foreground --allow-other -h --help' -- "$current")
      else
        _teacup_paths "$current"
      fi
      ;;
    commit:--label | export:--path) ;;
    diff:* | commit:* | export:*)
      if [[ $current == -* && $previous != --upper ]]; then
        case ${COMP_WORDS[1]} in
          diff) mapfile -t COMPREPLY < <(compgen -W '--json -h --help' -- "$current") ;;
          commit) mapfile -t COMPREPLY < <(compgen -W '--upper --changes --label -q --quiet -h --help' -- "$current") ;;
          export) mapfile -t COMPREPLY < <(compgen -W '--upper --path --directory -h --help' -- "$current") ;;
        esac
      else
        _teacup_paths "$current"
      fi
      ;;
    rewrite:--patch) mapfile -t COMPREPLY < <(compgen -W 'cpuid rdtsc none' -- "$current") ;;
    rewrite:*)
      if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--image --json --disasm -q --quiet --patch -h --help' -- "$current")
      else
        _teacup_paths "$current"
      fi
      ;;
    help:help) mapfile -t COMPREPLY < <(compgen -W 'run pack ls cat stat inspect mount diff commit export rewrite version' -- "$current") ;;
    help:* | version:*) ;;
    *) _teacup_paths "$current" ;;
  esac
}

complete -F _teacup teacup
