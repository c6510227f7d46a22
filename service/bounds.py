"""Every time-out and bound that is not a setting, with its unit and its reason, in one list.

Operators have no reason to change one. Tests do, with `--bound NAME=VALUE` on the command line, which workers inherit.
Limits that the API promises stand in `openapi.yaml`; whatever depends on the installation is a setting.
"""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Bounds:
    """The bounds of one process. The last word of a name is its unit."""

    # --- The client's connection ---
    # The request line and the headers; browsers and proxies stay below 16 KiB. Also the framing of a body: chunk sizes,
    # extensions, trailers.
    request_head_bytes: int = 64 * 1024
    request_headers: int = 1000
    # As written; nginx takes no longer one, either. Litestar remembers the last 1,024 paths that hold a parameter.
    request_path_bytes: int = 8 * 1024
    # Framing allowed for each byte of a body. A chunk of one byte has five.
    framing_bytes_a_byte: int = 8
    # For a client to send a whole head.
    request_head_seconds: float = 30.0
    # Until an idle connection is closed. Proxies close theirs before, as nginx does after 60 s.
    client_idle_seconds: float = 75.0
    # Of a body, read from the socket and not yet by the application.
    unread_body_bytes: int = 64 * 1024
    # Of further requests, while one is being answered.
    pipelined_bytes: int = 64 * 1024
    # Fed to the parser in one piece, so the other bounds may be exceeded by this much.
    parsed_at_once_bytes: int = 4 * 1024
    # At a stop, how long an idle connection stays open for a request already on its way.
    stop_idle_seconds: float = 0.5
    # Lingering close: input is read and discarded so that the client can read an answer that came early.
    linger_seconds: float = 5.0
    linger_bytes: int = 4 * 1024**2
    # A client that reads fewer than `stalled_bytes` in `stalled_seconds` has stalled and is disconnected. A slow but
    # steady one gets everything.
    stalled_seconds: float = 120.0
    stalled_bytes: int = 16 * 1024
    stalled_check_seconds: float = 5.0

    # --- A request's body ---
    # Read and discarded after an early answer.
    drained_bytes: int = 32 * 1024**2
    drain_seconds: float = 30.0
    # For a whole body, even if it comes steadily.
    body_seconds: float = 600.0
    # The slowest acceptable rate: a mobile network that barely works.
    body_bytes_a_second: int = 500
    # Memory for all bodies being read, and the part of it reserved for small ones.
    bodies_bytes: int = 32 * 1024**2
    small_bodies_bytes: int = 8 * 1024**2
    large_body_bytes: int = 64 * 1024
    form_parts: int = 32
    # A form refused before this much of its file has arrived never touches the disk.
    spool_bytes: int = 256 * 1024

    # --- Answers that are kept ---
    # In all, their bytes, and of one user while they are in progress. Beyond it new ones are refused.
    answers: int = 2000
    answers_bytes: int = 256 * 1024**2
    answers_of_a_user: int = 8
    # Between two looks for answers that nobody follows, unless a quarter of ANSWER_IDLE_SECONDS is shorter.
    answers_clean_seconds: float = 5.0
    # Where several processes share them: between two signs of life, and the silence after which a process is taken for
    # dead. One that hangs for longer loses its answers to another, and no more.
    answers_beat_seconds: float = 1.0
    answers_lease_seconds: float = 3.0
    # Claimed from a dead process at once; meanwhile others may claim, too.
    answers_claimed: int = 50
    # Of one answer, sent to the store at once.
    answers_sent_bytes: int = 64 * 1024
    # Between two readings of what other processes have added, so that a flood of events is read in few; that much more
    # for every hundred answers that are read.
    answers_read_seconds: float = 0.01
    # Between two looks whether a chat is over whose reader has died: the first pause, and the longest. Coze asks for no
    # more than one a second.
    recall_seconds: float = 1.0
    recall_longest_seconds: float = 5.0
    # Attempts to read Coze's record while it is empty, or differs from what was sent before: it may be late.
    recall_attempts: int = 4

    # --- An answer ---
    # Some readers, the API document's own among them, take each network read for whole events and lose an event that is
    # split over two. Short events in short writes are seldom split.
    delta_characters: int = 2000
    write_bytes: int = 16 * 1024
    # Of an answer as JSON. Coze's bots stay far below.
    answer_characters: int = 32 * 1024**2
    # A reader reconnects within a minute, in a hidden tab later. The same request after that is a new question.
    reconnect_seconds: float = 600.0
    # Read from the store at once. A slow client keeps at most two chunks in memory and never blocks the store.
    download_chunk_bytes: int = 128 * 1024
    # Of the message about a bad request.
    error_characters: int = 300

    # --- The shared count of the rate limit ---
    # Generous beside the usual millisecond: a busy process must not take its own delay for a broken store.
    count_seconds: float = 1.0
    # Between two attempts to reach a store that does not answer.
    count_retry_seconds: float = 1.0
    count_connections: int = 32

    # --- HTTP to Coze ---
    # Of a head, of trailers, and of any run of bytes without a piece of the body.
    coze_head_bytes: int = 32 * 1024
    # For which an idle connection is kept for the next request.
    coze_idle_seconds: float = 15.0
    # How often a request tries another connection when one ended before it could be used.
    coze_attempts: int = 3
    # For which resolved addresses are cached.
    coze_name_seconds: float = 60.0
    # Until the next address is tried in parallel (RFC 8305, section 5).
    coze_next_address_seconds: float = 0.25
    # Beyond one for each chat: for uploads, cancellations, probes.
    coze_spare_connections: int = 100
    # Of an answer that is no stream.
    coze_answer_bytes: int = 4 * 1024**2
    # Read ahead while the receiver is paused or a backlog is being delivered. Reading nothing is not an option: over
    # TLS, uvloop drops undelivered data when Coze closes the connection. Data beyond this bound is still dropped.
    coze_ahead_bytes: int = 128 * 1024
    coze_backlog_bytes: int = 512 * 1024
    # Delivered in one turn of the loop: some 300 events as Coze writes them, or two milliseconds. Counted in lines,
    # because a blank line or a comment costs nearly as much as a long one.
    turn_lines: int = 1500
    turn_bytes: int = 64 * 1024
    # How far past that bound an event may end that began before it: whole events parse faster.
    turn_extra_lines: int = 10
    turn_extra_bytes: int = 64 * 1024

    # --- A chat at Coze ---
    # For which an abandoned chat is still read, so that Coze can name it or end it.
    leave_seconds: float = 5.0
    # The same once it is named: it may have completed while its reader was slow.
    leave_named_seconds: float = 0.1
    coze_event_bytes: int = 8 * 1024**2
    # Of a body that is no event stream, kept to look for an error in it.
    coze_no_stream_bytes: int = 64 * 1024
    # At shutdown, for the last chats to be cancelled.
    goodbye_seconds: float = 10.0
    # Coze's own maximum, and a bound on pages in case Coze's total is wrong: 10,000 workspaces.
    workspaces_page: int = 50
    workspaces_pages: int = 200

    # --- What Coze tells of bots ---
    # For which it serves before Coze is asked again: a bot changes seldom, and its maker wants to see a change.
    bot_fresh_seconds: float = 300.0
    # After a failure, as long as a caller is told to wait.
    bot_retry_seconds: float = 5.0
    # For which a caller who can have an old profile waits for a new one.
    bot_wait_seconds: float = 1.0
    # Asked for at the same time; a list of many bots must not use up Coze's limit of calls.
    bots_at_once: int = 10
    # Of those that callers name. The operator's own are always kept.
    bots_kept: int = 200
    # Of a title, a description, an opening line, a question. Coze's forms take a few hundred.
    bot_text_characters: int = 4000
    bot_questions: int = 20

    # --- The token ---
    # Between two looks at a token file. A file that changed more recently may be half written.
    token_file_seconds: float = 1.0
    # The lifetime to ask for. Coze's default is 900 s, its maximum 86,399 s. This one leaves half an hour to repair
    # whatever makes a renewal fail.
    token_seconds: int = 7200
    # Fractions of a token's life: when it is renewed, and until when it is used, as it must still be valid on arrival.
    token_renew_after: float = 0.75
    token_use_until: float = 0.95
    # A lifetime shorter than this, or longer than asked for by more than the slack, is ignored: the clocks differ or
    # Coze errs.
    token_shortest_seconds: float = 4.0
    token_slack_seconds: float = 60.0
    # Between two attempts to fetch a token, whether or not the first succeeded.
    token_retry_seconds: float = 2.0

    # --- Files ---
    # Between two clean-ups of a store, unless a quarter of FILE_LIFETIME is shorter.
    files_clean_seconds: float = 3600.0
    # For which an upload or download waits for the store.
    files_wait_seconds: float = 10.0
    files_copy_bytes: int = 128 * 1024
    # For the lock on a folder's account, which others take for milliseconds. Bounded because a stop joins the threads.
    files_lock_seconds: float = 5.0
    bucket_request_seconds: float = 30.0
    # For one call, retries included.
    bucket_seconds: float = 60.0

    # --- What the service remembers ---
    # For which a call waits for the store, in a folder or on a server. The usual is a millisecond.
    store_seconds: float = 3.0
    # For another process that writes into the same folder. Less than the above, so that the cause is told.
    store_lock_seconds: float = 2.0
    # Between two clean-ups of a folder's database, and the rows that one removes, so that no writer waits long for it.
    store_clean_seconds: float = 3600.0
    store_clean_rows: int = 500
    store_connections: int = 32

    # --- Users' tokens ---
    # Those of login services stay below 4 KiB.
    user_token_characters: int = 16 * 1024
    # By how much the clocks of the signer and of the service may differ.
    user_token_leeway_seconds: int = 60
    # The contract's own limit for one that a client names.
    user_id_characters: int = 255
    # Between two looks at the store for conversations that another process deleted while chats run in them.
    deletions_seconds: float = 1.0
    # Between two looks at the store whether the visitors' secret, which has not signed a token, is another by now.
    visitors_retry_seconds: float = 5.0
    # For which published keys serve before they are fetched again, so that a withdrawn key ends.
    published_keys_fresh_seconds: float = 3600.0
    # Between two fetches, whatever keys the tokens name and whether or not the first succeeded; shorter while there are
    # no keys yet.
    published_keys_retry_seconds: float = 30.0
    published_keys_first_seconds: float = 2.0
    # For one fetch.
    published_keys_seconds: float = 5.0
    published_keys_bytes: int = 256 * 1024
    published_keys: int = 100

    # --- Traces ---
    # At the end of the process, for the last spans to be exported.
    spans_goodbye_seconds: float = 3.0
    # Between two log lines about lost spans.
    spans_complaint_seconds: float = 60.0
    # Coze's ids are some twenty digits.
    span_id_characters: int = 128

    # --- The process ---
    # After SHUTDOWN_GRACE: for clients to read their last events, and how much longer uvicorn waits.
    last_events_seconds: int = 3
    uvicorn_seconds: int = 10
    # For the parent to exit once the last worker has ended.
    end_seconds: float = 5.0
    # For a lock that another process may take briefly to see whether a service runs.
    pid_file_seconds: float = 1.0
    # Container engines give up after five.
    probe_seconds: float = 4.0
    workers_check_seconds: float = 0.1
    # A worker that dies earlier could not run. After this many in a row the service ends or, if others serve, waits
    # before it tries again.
    worker_healthy_seconds: float = 5.0
    worker_early_deaths: int = 5
    worker_retry_seconds: float = 10.0
    # Beyond SHUTDOWN_GRACE, until a worker that does not stop is killed.
    worker_stop_seconds: float = 40.0
    # Heartbeats of a worker's loop: their interval, the longest silence, and the time until the first.
    worker_beat_seconds: float = 1.0
    worker_hang_seconds: float = 10.0
    worker_start_seconds: float = 60.0

    def change(self, bound: str) -> None:
        """Sets a bound from NAME=VALUE. Raises ValueError for an unknown name or a value of the wrong type."""
        name, _, value = bound.partition("=")
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"there is no bound {name}")
        kind: type[float] = type(getattr(self, name))
        setattr(self, name, kind(value))


BOUNDS = Bounds()
