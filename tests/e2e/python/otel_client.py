"""A program with the OpenTelemetry SDK and its OTLP/HTTP exporter (protobuf): spans, logs and metrics.

The receiver comes from OTEL_EXPORTER_OTLP_ENDPOINT, as for any program with the SDK.
"""

import logging

from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import commands

tracers = TracerProvider()
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(tracers)

meters = MeterProvider(metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
metrics.set_meter_provider(meters)

loggers = LoggerProvider()
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
set_logger_provider(loggers)

logger = logging.getLogger("shop")
logger.addHandler(LoggingHandler(logger_provider=loggers))
logger.setLevel(logging.INFO)
logger.propagate = False

tracer = trace.get_tracer("shop")
counter = metrics.get_meter("shop").create_counter("orders", unit="1")
durations = metrics.get_meter("shop").create_histogram("order.duration", unit="ms")


def spans(name, count):
    """So many finished spans, one of them with an error."""
    for number in range(count):
        with tracer.start_as_current_span(f"{name} {number}", attributes={"number": number, "quoted": '"é\n'}) as span:
            span.add_event("paid", {"amount": 9.5})
            if number == 0:
                span.record_exception(ValueError("no stock"))
                span.set_status(trace.StatusCode.ERROR)


def logs(body, count):
    for number in range(count):
        logger.warning("%s %d", body, number, extra={"ratio": 0.1})


def metric(value):
    counter.add(value, {"shop": "north"})
    durations.record(value / 3, {"shop": "north"})


def flush(timeout):
    """True when everything went out."""
    milliseconds = int(timeout * 1000)
    return all([provider.force_flush(milliseconds) for provider in (tracers, loggers, meters)])


if __name__ == "__main__":
    commands.serve({"spans": spans, "logs": logs, "metric": metric, "flush": flush})
