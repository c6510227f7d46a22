#!/usr/bin/env bash
# Sets the project up in .venv, from uv.lock, and runs it. Needs Python 3.11 or newer and nothing else.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

UV_VERSION=0.13.9
RUN_DIR=.run
# The service's own. It has a lock on the first for as long as it lives. The second has two lines: its address while it
# takes connections, and how many seconds a stop takes at most.
PID_FILE=$RUN_DIR/service.pid
READY_FILE=$RUN_DIR/service.ready
LOG_FILE=$RUN_DIR/service.log
LOG_BYTES=10000000
# How long a start may take, and how long a service that runs may take to notice that it is to stop.
START_SECONDS=120
NOTICE_SECONDS=10

usage() {
  cat <<'TEXT'
usage: ./run.sh COMMAND

  sandbox   set up, and run in the foreground with a built-in Coze simulator: no account needed
  start     set up, and run in the background on the Coze of COZE_API_TOKEN (environment or .env)
  stop      stop what runs in the background; running chats finish first
  restart   stop, then start
  status    does it run in the background, and does Coze answer it
  logs      follow its log
  check     set up, then what takes a minute: format, lint, types, generated code, unit tests
  test      set up, then every check and every test; `test tests/test_chat.py -k stream` runs these tests alone
  mutants   set up, then change the code in one place after the other, to see which changes no unit test notices
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

# What looks after a service that runs: it may have lost its .venv, as before a new set-up.
any_python() {
  if [ -x .venv/bin/python ]; then
    echo .venv/bin/python
  else
    find_python
  fi
}

# Makes .venv what uv.lock says: `set_up --no-dev` to run the service, `set_up` to test it too, `set_up --group bench` to
# measure it too, `set_up --group mutants` to measure its tests too. Does nothing if it is that, or more, already.
set_up() {
  local python uv stamp=.venv/.set-up want had this
  want=$(cat uv.lock pyproject.toml run.sh | cksum)
  had=$(cat "$stamp" 2>/dev/null || true)
  this="$want${*:+ $*}"
  if [ -x .venv/bin/python ]; then
    case "$had for $*" in
      "$this for $*" | "$want --group "*" for " | "$want --group "*" for --no-dev" | "$want for --no-dev") return ;;
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

# The pid of the service that runs here, if one still does in $1 seconds. A pid file of none is removed.
running_pid() {
  local python
  [ -e "$PID_FILE" ] || return 0
  python=$(any_python) || exit 1
  "$python" -IS - "$PID_FILE" "$1" <<'PY'
import fcntl, os, sys, time
path, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
try:
    file = open(path, "r+")
except FileNotFoundError:
    sys.exit()
while True:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if time.monotonic() >= end:
            print(file.read().strip())
            break
        time.sleep(0.1)
    else:
        if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(file.fileno())):
            os.remove(path)
        break
PY
}

# Line $1 of the ready file; nothing if there is none.
ready() {
  sed -n "$1p" "$READY_FILE" 2>/dev/null || true
}

# Sees the service of pid $1 off, which was told to stop: it has $2 seconds.
see_off() {
  if [ -z "$(running_pid "$2")" ]; then
    echo "stopped"
    return
  fi
  kill -KILL "$1" 2>/dev/null || true
  [ -z "$(running_pid 10)" ] || fail "pid $1 cannot be killed"
  echo "killed (pid $1), as it did not stop in time"
}

start() {
  local pid other before
  pid=$(running_pid 0)
  [ -z "$pid" ] || fail "already running (pid $pid)"
  set_up --no-dev
  mkdir -p "$RUN_DIR"
  touch "$LOG_FILE"
  before=$(wc -c <"$LOG_FILE")
  if [ "$before" -gt "$LOG_BYTES" ]; then
    mv "$LOG_FILE" "$LOG_FILE.1"
    before=0
  fi
  PID_FILE=$PID_FILE READY_FILE=$READY_FILE nohup .venv/bin/python -m service "$@" >>"$LOG_FILE" 2>&1 </dev/null &
  pid=$!
  for _ in $(seq $((START_SECONDS * 10))); do
    if ! kill -0 "$pid" 2>/dev/null; then
      other=$(running_pid 0)
      [ -z "$other" ] || fail "already running (pid $other)"
      tail -c "+$((before + 1))" "$LOG_FILE" | tail -n 5 >&2
      fail "the service did not start"
    fi
    # While another service has the lock, what stands there is that one's.
    if [ "$(cat "$PID_FILE" 2>/dev/null)" = "$pid" ] && [ -n "$(ready 1)" ]; then
      echo "running (pid $pid) on $(ready 1), docs at $(ready 1)/docs, log in $LOG_FILE"
      health "$(ready 1)" >/dev/null || echo "run.sh: it runs, but cannot chat: see ./run.sh status" >&2
      return
    fi
    sleep 0.1
  done
  kill "$pid" 2>/dev/null || true
  see_off "$pid" "$NOTICE_SECONDS" >&2
  fail "the service took no connections within $START_SECONDS s; see $LOG_FILE"
}

stop() {
  local pid seconds
  pid=$(running_pid 0)
  if [ -z "$pid" ]; then
    echo "not running"
    return
  fi
  seconds=$(ready 2)
  kill "$pid" 2>/dev/null || true
  for _ in $(seq $((NOTICE_SECONDS * 10))); do
    [ -n "$(ready 1)" ] || break
    sleep 0.1
  done
  # One that still takes connections has not noticed: it hangs.
  if [ -n "$(ready 1)" ]; then
    seconds=0
  fi
  see_off "$pid" "${seconds:-$NOTICE_SECONDS}"
}

# Prints what the service at $1 says of itself. Fails if it does not answer, or has no way to Coze.
health() {
  local python
  python=$(any_python) || exit 1
  "$python" - "$1/health" <<'PY'
import sys, urllib.error, urllib.request
# No proxy knows this machine's own addresses.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    answer = direct.open(sys.argv[1], timeout=20)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    sys.exit(f"it does not answer: {error}")
print(answer.read().decode())
sys.exit(answer.status != 200)
PY
}

status() {
  local pid url
  pid=$(running_pid 0)
  if [ -z "$pid" ]; then
    echo "not running"
    return 3
  fi
  url=$(ready 1)
  if [ -z "$url" ]; then
    echo "running (pid $pid), but it takes no connections: it starts or stops"
    return 1
  fi
  echo "running (pid $pid) on $url"
  health "$url"
}

case "${1:-}" in
  sandbox) set_up --no-dev; shift; exec .venv/bin/python -m service --sandbox "$@" ;;
  start) shift; start "$@" ;;
  stop) stop ;;
  restart) shift; stop; start "$@" ;;
  status) status ;;
  logs) [ -f "$LOG_FILE" ] || fail "there is no log yet"; exec tail -n 100 -F "$LOG_FILE" ;;
  check) set_up; exec .venv/bin/python -m tests.check fast ;;
  test) shift; set_up; if [ $# = 0 ]; then set -- all; else set -- only "$@"; fi; exec .venv/bin/python -m tests.check "$@" ;;
  mutants) shift; set_up --group mutants; exec .venv/bin/mutmut run "$@" ;;
  supply) shift; set_up; exec .venv/bin/python -m tests.supply "$@" ;;
  bench) shift; set_up --group bench; exec .venv/bin/python -m benchmarks "$@" ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac
