"""Every time-out and bound that is not a setting, with its unit and its reason, in one list.

An operator has no reason to change one; a test has: `--bound NAME=VALUE` on the command line, for this process and its
workers. What the API promises of lengths stands in `openapi.yaml`, what depends on the place in `service.settings`.
"""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Bounds:
    """The bounds of one process. Times are in seconds; what is counted is the last word of the name."""

    # --- The client's connection ---
    # The request line and the headers; browsers and proxies stay below 16 KiB. Also what is around the bytes of a body:
    # the sizes of its chunks, their extensions, trailers.
    request_head_bytes: int = 64 * 1024
    request_headers: int = 1000
    # Around each byte of a body. A chunk of one byte has five.
    framing_bytes_a_byte: int = 8
    # For the client to send a head.
    request_head_seconds: float = 30.0
    # Until an idle connection is closed. Proxies close theirs before, as nginx does after 60 s.
    client_idle_seconds: float = 75.0
    # Of a body, waiting to be read.
    unread_body_bytes: int = 64 * 1024
    # Behind a request that is being answered.
    pipelined_bytes: int = 64 * 1024
    # So much more than the bounds allow may be kept.
    parsed_at_once_bytes: int = 4 * 1024
    # At a stop, for a request that is on its way: a proxy sends one at any time.
    stop_idle_seconds: float = 0.5
    # What a client still sends is read and dropped, so that it gets to read an answer that came early.
    linger_seconds: float = 5.0
    linger_bytes: int = 4 * 1024**2
    # A client that takes less than this of what waits for it, for so long, takes no more. One that takes little, but
    # steadily, gets everything.
    stalled_seconds: float = 120.0
    stalled_bytes: int = 16 * 1024
    stalled_check_seconds: float = 5.0

    # --- A request's body ---
    # Read and dropped after an early answer.
    drained_bytes: int = 32 * 1024**2
    drain_seconds: float = 30.0
    # For a whole body, however steadily it comes.
    body_seconds: float = 600.0
    # The slowest that a body may come: a mobile network that hardly works.
    body_bytes_a_second: int = 500
    # The memory of all bodies that are being read, and how much of it is kept for those that are not large.
    bodies_bytes: int = 32 * 1024**2
    small_bodies_bytes: int = 8 * 1024**2
    large_body_bytes: int = 64 * 1024
    form_parts: int = 32
    # A form that is refused before so much of its file has come never touches the disk.
    spool_bytes: int = 256 * 1024

    # --- An answer ---
    # Readers that take a network read for whole events, as the API document's own does, lose an event that is spread
    # over two; short ones seldom are. So much is written at once for the same reason.
    delta_characters: int = 2000
    write_bytes: int = 16 * 1024
    # Of a JSON answer. Coze's bots stay far below.
    answer_characters: int = 32 * 1024**2
    # A reader reconnects within a minute, one in a hidden tab later. Who asks the very same later wants it asked.
    reconnect_seconds: float = 600
    # Read at once. A client that reads slowly keeps two of them in memory, and no store waiting.
    download_chunk_bytes: int = 128 * 1024
    # Of what is said about a bad request.
    error_characters: int = 300

    # --- The shared count of the rate limit ---
    # Generous beside the millisecond that it takes: a busy process must not take itself for a broken store.
    count_seconds: float = 1.0
    # Between two tries of a store that does not answer.
    count_retry_seconds: float = 1.0
    count_connections: int = 32

    # --- HTTP to Coze ---
    # Of a head, of trailers, and of what comes in a row without a piece of the body.
    coze_head_bytes: int = 32 * 1024
    # A connection is kept for the next request.
    coze_idle_seconds: float = 15.0
    # A request is given another connection for one that ended before it was of use.
    coze_attempts: int = 3
    # The addresses of a name are believed.
    coze_name_seconds: float = 60.0
    # Until the next address is tried beside the last (RFC 8305, section 5).
    coze_next_address_seconds: float = 0.25
    # Beyond those of the chats: uploads, cancellations, probes.
    coze_spare_connections: int = 100
    # Of an answer that is no stream.
    coze_answer_bytes: int = 4 * 1024**2
    # Read ahead while the receiver is paused, and while what came at once is worked off. To read nothing would not do:
    # over TLS uvloop loses what it has not handed on when Coze ends the connection. What is beyond this is still lost.
    coze_ahead_bytes: int = 128 * 1024
    coze_backlog_bytes: int = 512 * 1024
    # Worked off in one turn of the loop: some 300 events as Coze writes them, each in a chunk of its own, two
    # milliseconds. Lines, because a blank line or a comment costs nearly as much as a long one.
    turn_lines: int = 1500
    turn_bytes: int = 64 * 1024
    # An event that began within may end so far behind: whole events are read faster.
    turn_extra_lines: int = 10
    turn_extra_bytes: int = 64 * 1024

    # --- A chat at Coze ---
    # A chat that was left is still read, so that Coze can name it, or end it, or end its answer.
    leave_seconds: float = 5.0
    # One that has been named: it may have completed while its reader was slow.
    leave_named_seconds: float = 0.1
    coze_event_bytes: int = 8 * 1024**2
    # Of a body that is no event stream, to look for an error in it.
    coze_no_stream_bytes: int = 64 * 1024
    # At the end of the service, for its last chats to be cancelled.
    goodbye_seconds: float = 10.0
    # Coze's own maximum, and a bound against a total that lies: 10,000 workspaces.
    workspaces_page: int = 50
    workspaces_pages: int = 200

    # --- The token ---
    # A token's file is looked at so often. One that changed less long ago may be half written.
    token_file_seconds: float = 1.0
    # The lifetime asked for. Coze gives 900 s unless asked, and 86,399 s at most: this one leaves half an hour to mend
    # what keeps a renewal from succeeding.
    token_seconds: int = 7200
    # A token is renewed after this part of its life, and not used in the last part, for it must live to its arrival.
    token_renew_after: float = 0.75
    token_use_until: float = 0.95
    # A life shorter than this, or longer than was asked for by more than the slack, is not believed: the clocks differ,
    # or Coze errs.
    token_shortest_seconds: float = 4.0
    token_slack_seconds: float = 60.0
    # Between two attempts to fetch a token, whatever came of the first.
    token_retry_seconds: float = 2.0

    # --- Files ---
    # A store is cleaned up so often, or four times in a file's life.
    files_clean_seconds: float = 3600
    # Who uploads or downloads waits no longer for what a store has to do first.
    files_wait_seconds: float = 10
    files_copy_bytes: int = 128 * 1024
    # For the account of a folder, which others lock for milliseconds. No thread may wait for ever: a stop joins them.
    files_lock_seconds: float = 5
    files_lock_check_seconds: float = 0.01
    bucket_request_seconds: float = 30
    # However often a request is tried again.
    bucket_seconds: float = 60

    # --- Traces ---
    # At the end of the process, for the last spans to be taken.
    spans_goodbye_seconds: float = 3.0
    # Between two complaints that spans are lost.
    spans_complaint_seconds: float = 60.0
    # Coze's ids are some twenty digits.
    span_id_characters: int = 128

    # --- The process ---
    # Once SHUTDOWN_GRACE is over: for clients to take their last events, and how long uvicorn still waits then.
    last_events_seconds: int = 3
    uvicorn_seconds: int = 10
    # What a stop takes once the last worker has ended.
    end_seconds: float = 5
    # Somebody may have the lock for a moment, to see whether a service has it.
    pid_file_seconds: float = 1.0
    # An engine gives up after five.
    probe_seconds: float = 4
    workers_check_seconds: float = 0.1
    # A worker that dies earlier was not able to run: so many of those in a row end the service.
    worker_healthy_seconds: float = 5.0
    worker_early_deaths: int = 5
    # A worker may take so long beyond SHUTDOWN_GRACE before it is killed.
    worker_stop_seconds: float = 40.0
    # A worker's loop gives a sign of life so often, may give none for so long, and has so long until its first.
    worker_beat_seconds: float = 1.0
    worker_hang_seconds: float = 10.0
    worker_start_seconds: float = 60.0

    def change(self, bound: str) -> None:
        """Takes a bound as NAME=VALUE. Raises ValueError if there is none of that name, or it takes no such number."""
        name, _, value = bound.partition("=")
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"there is no bound {name}")
        kind: type[float] = type(getattr(self, name))
        setattr(self, name, kind(value))


BOUNDS = Bounds()
