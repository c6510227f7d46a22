#!/usr/bin/env bash
# Sets the project up in .venv, from uv.lock, and runs it. Needs Python 3.11 or newer and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

UV_VERSION=0.13.9
RUN_DIR=.run
PID_FILE=$RUN_DIR/service.pid
LOG_FILE=$RUN_DIR/service.log

usage() {
  cat <<'TEXT'
usage: ./run.sh COMMAND

  sandbox   set up, and run in the foreground on a Coze of its own: no account needed
  start     set up, and run in the background on the Coze of COZE_API_TOKEN (environment or .env)
  stop      stop it; running chats finish first
  restart   stop, then start
  status    is it running, and does it answer
  logs      follow its log
  check     set up, then what takes a minute: format, lint, types, generated code, unit tests
  test      set up, then every check and every test; `test tests/test_chat.py -k stream` runs these tests alone
  supply    set up, then list in dist/supply what is shipped: hashes, licences, bill of materials, known weaknesses
  bench     set up, then measure what a chat costs, beside two others; `bench --help` says what more there is
TEXT
}

fail() {
  echo "run.sh: $*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.11 python3.12 python3.13 python3.14 python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "Python 3.11 or newer is needed and was not found. Set PYTHON to name one."
}

# Makes .venv what uv.lock says: `set_up --no-dev` to run the service, `set_up` to test it too, `set_up --group bench` to
# measure it too. Does nothing if it is that, or more than that, already.
set_up() {
  local python uv stamp=.venv/.set-up want had this
  want=$(cat uv.lock pyproject.toml run.sh | cksum)
  had=$(cat "$stamp" 2>/dev/null || true)
  this="$want${*:+ $*}"
  if [ -x .venv/bin/python ]; then
    case "$had for $*" in
      "$this for $*" | "$want --group bench for "* | "$want for --no-dev") return ;;
    esac
  fi
  python=$(find_python)
  echo "run.sh: setting up .venv (a minute or so, once)" >&2
  [ -x .venv/bin/python ] || "$python" -m venv .venv || fail "cannot make .venv; on Debian: apt install python3-venv"
  if ! uv=$(command -v uv); then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    uv=.venv/bin/uv
  fi
  # --inexact leaves uv itself there.
  "$uv" sync --quiet --locked --inexact --python .venv/bin/python "$@"
  echo "$this" >"$stamp"
}

command_of() {
  if [ -r "/proc/$1/cmdline" ]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  else
    ps -o args= -p "$1" 2>/dev/null || true
  fi
}

# The pid of our own running service; a stale pid file is removed. The pid may be another program's by now.
running_pid() {
  local pid
  pid=$(cat "$PID_FILE" 2>/dev/null) || return 1
  if [ -n "$pid" ] && command_of "$pid" | grep -q -- '-m service'; then
    echo "$pid"
    return 0
  fi
  rm -f "$PID_FILE"
  return 1
}

# The address the service says it listens on; what listens on every address is reached on 127.0.0.1.
address() {
  sed -n 's/^{"url":"\([^"]*\)".*"event":"listening".*/\1/p' "$LOG_FILE" 2>/dev/null | tail -n 1
}

start() {
  local pid
  if pid=$(running_pid); then
    fail "already running (pid $pid)"
  fi
  set_up --no-dev
  mkdir -p "$RUN_DIR"
  : >"$LOG_FILE"
  nohup .venv/bin/python -m service "$@" >>"$LOG_FILE" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$PID_FILE"
  for _ in $(seq 300); do
    if ! kill -0 "$pid" 2>/dev/null; then
      rm -f "$PID_FILE"
      tail -n 5 "$LOG_FILE" >&2
      fail "the service did not start"
    fi
    if [ -n "$(address)" ]; then
      echo "running (pid $pid) on $(address), docs at $(address)/docs, log in $LOG_FILE"
      return
    fi
    sleep 0.1
  done
  fail "the service has not said where it listens within 30 s; see $LOG_FILE"
}

stop() {
  local pid
  if ! pid=$(running_pid); then
    echo "not running"
    return
  fi
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  rm -f "$PID_FILE"
  echo "stopped"
}

status() {
  local pid
  if ! pid=$(running_pid); then
    echo "not running"
    return 3
  fi
  echo "running (pid $pid) on $(address)"
  .venv/bin/python - "$(address)/health" <<'PY'
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=20)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    sys.exit(f"it does not answer: {error}")
print(answer.read().decode())
sys.exit(answer.status != 200)
PY
}

case "${1:-}" in
  sandbox) set_up --no-dev; shift; exec .venv/bin/python -m service --sandbox "$@" ;;
  start) shift; start "$@" ;;
  stop) stop ;;
  restart) shift; stop; start "$@" ;;
  status) status ;;
  logs) [ -f "$LOG_FILE" ] || fail "there is no log yet"; exec tail -n 100 -f "$LOG_FILE" ;;
  check) set_up; exec .venv/bin/python -m tests.check fast ;;
  test) shift; set_up; if [ $# = 0 ]; then set -- all; else set -- only "$@"; fi; exec .venv/bin/python -m tests.check "$@" ;;
  supply) shift; set_up; exec .venv/bin/python -m tests.supply "$@" ;;
  bench) shift; set_up --group bench; exec .venv/bin/python -m benchmarks "$@" ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac
