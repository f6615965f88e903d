"""A program with `sentry-sdk`, as an application would have it: every kind of telemetry that the SDK knows.

SENTRY_DSN names the receiver, TRACE_LIFECYCLE how traces are sent: whole ("static") or span by span ("stream").
"""

import os

import sentry_sdk
from sentry_sdk import metrics
from sentry_sdk.crons import capture_checkin

import commands

# Bytes that a reader of lines would stumble over.
ATTACHMENT = b"first line\n\n\x00\xff{}\n" + bytes(range(256))

TRACE_LIFECYCLE = os.environ.get("TRACE_LIFECYCLE", "static")

sentry_sdk.init(
    release="shop@1.0.0",
    environment="test",
    traces_sample_rate=1.0,
    enable_logs=True,
    trace_lifecycle=TRACE_LIFECYCLE,
    transport_queue_size=1000,
    shutdown_timeout=30,
    _experiments={"transport_compression_algo": os.environ.get("COMPRESSION", "gzip")},
)


def error(message, attached=False):
    """One event with a stack trace; its id."""
    with sentry_sdk.new_scope() as scope:
        if attached:
            scope.add_attachment(bytes=ATTACHMENT, filename="attached.bin", content_type="application/octet-stream")
        try:
            raise ValueError(message)
        except ValueError as cause:
            return scope.capture_exception(cause)


def large_error(message, size):
    """One event with so many bytes attached."""
    with sentry_sdk.new_scope() as scope:
        scope.add_attachment(bytes=os.urandom(size), filename="large.bin")
        return scope.capture_message(message, level="error")


def trace(name, spans):
    """A finished trace of so many spans below its root; its trace id."""
    if TRACE_LIFECYCLE == "stream":
        sentry_sdk.traces.new_trace()
        with sentry_sdk.traces.start_span(name=name) as root:
            for number in range(spans):
                with sentry_sdk.traces.start_span(name=f"step {number}"):
                    pass
            return root.trace_id
    with sentry_sdk.start_transaction(name=name, op="task") as root:
        for number in range(spans):
            with root.start_child(op="step", name=f"step {number}"):
                pass
    return root.trace_id


def logs(body, count):
    """So many log records, with text that JSON must escape."""
    for number in range(count):
        sentry_sdk.logger.warning(
            "{body} {number}", body=body, number=number, attributes={"quoted": '"\\\n\u2028é', "ratio": 0.1, "ok": True}
        )


def metric(name, value):
    metrics.count(name, value)
    metrics.distribution(name + ".time", value / 3, unit="millisecond")


def session(errored):
    """An application session, begun and ended."""
    scope = sentry_sdk.get_isolation_scope()
    scope.start_session(session_mode="application")
    if errored:
        error("in a session")
    scope.end_session()


def requests(count):
    """Request sessions, which the SDK sums up before it sends them."""
    scope = sentry_sdk.get_isolation_scope()
    for _ in range(count):
        scope.start_session(session_mode="request")
        scope.end_session()


def check_in(slug):
    """A job that began and ended well; the check-in's id."""
    begun = capture_checkin(monitor_slug=slug, status="in_progress")
    return capture_checkin(monitor_slug=slug, check_in_id=begun, status="ok", duration=0.25)


def flush(timeout):
    sentry_sdk.flush(timeout=timeout)


if __name__ == "__main__":
    commands.serve(
        {
            "error": error,
            "large_error": large_error,
            "trace": trace,
            "logs": logs,
            "metric": metric,
            "session": session,
            "requests": requests,
            "check_in": check_in,
            "flush": flush,
        }
    )
