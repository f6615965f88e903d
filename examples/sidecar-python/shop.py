"""A nightly job of a shop that reports through a local surgetank sidecar: with sentry-sdk, and with OpenTelemetry.

Nothing in it knows of surgetank: both SDKs are told where to send by their usual variables, SENTRY_DSN and
OTEL_EXPORTER_OTLP_ENDPOINT. Where these are not set, it takes the addresses at which `surgetank run` listens by itself.
"""

import os

os.environ.setdefault("SENTRY_DSN", "http://0123456789abcdef0123456789abcdef@127.0.0.1:8969/1")
os.environ.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")

import sentry_sdk
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sentry_sdk.crons import monitor

# How long the end of the program waits for telemetry that is under way.
PATIENCE_S = 30

ORDERS = [("A-1", 1200), ("A-2", 350), ("A-3", 0), ("A-4", 8000)]


class CardDeclined(Exception):
    pass


def charge(order, cents):
    if cents == 0:
        raise CardDeclined(f"order {order} has no amount")


@monitor(monitor_slug="nightly-charges")
def charge_all(tracer):
    """Charges each order: a span of a Sentry transaction and one of OpenTelemetry each; how many went wrong."""
    failures = 0
    with sentry_sdk.start_transaction(name="nightly charges", op="job") as job:
        for order, cents in ORDERS:
            with job.start_child(op="charge", name=order), tracer.start_as_current_span("charge") as span:
                span.set_attribute("order", order)
                try:
                    charge(order, cents)
                    sentry_sdk.logger.info("order {order} charged", order=order)
                except CardDeclined as problem:
                    failures += 1
                    span.record_exception(problem)
                    span.set_status(trace.StatusCode.ERROR)
                    print("reported as event", sentry_sdk.capture_exception(problem), flush=True)
    return failures


def main():
    sentry_sdk.init(
        release="shop@1.4.2",
        environment="example",
        traces_sample_rate=1.0,
        enable_logs=True,
        shutdown_timeout=PATIENCE_S,
    )
    spans = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    # A run of the program is a session; an error in it makes it an errored one.
    scope = sentry_sdk.get_isolation_scope()
    scope.start_session(session_mode="application")
    failures = charge_all(spans.get_tracer("shop"))
    scope.end_session()

    sentry_sdk.flush(timeout=PATIENCE_S)
    delivered = spans.force_flush(PATIENCE_S * 1000)
    spans.shutdown()
    print(f"{len(ORDERS) - failures} of {len(ORDERS)} orders charged")
    return 0 if delivered else 1


if __name__ == "__main__":
    raise SystemExit(main())
