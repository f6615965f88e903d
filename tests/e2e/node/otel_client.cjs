// A program with the OpenTelemetry SDK and its OTLP/HTTP exporters (JSON): spans, logs and metrics.
//
// The receiver comes from OTEL_EXPORTER_OTLP_ENDPOINT, as for any program with the SDK.
'use strict';

const { logs: logsApi, SeverityNumber } = require('@opentelemetry/api-logs');
const { metrics, trace: traceApi, SpanStatusCode } = require('@opentelemetry/api');
const { OTLPLogExporter } = require('@opentelemetry/exporter-logs-otlp-http');
const { OTLPMetricExporter } = require('@opentelemetry/exporter-metrics-otlp-http');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-http');
const { NodeSDK, logs, metrics: sdkMetrics, tracing } = require('@opentelemetry/sdk-node');
const { serve } = require('./commands.cjs');

const spanProcessor = new tracing.BatchSpanProcessor(new OTLPTraceExporter());
const logProcessor = new logs.BatchLogRecordProcessor({ exporter: new OTLPLogExporter() });
const metricReader = new sdkMetrics.PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter() });

const sdk = new NodeSDK({
  serviceName: 'shop',
  spanProcessors: [spanProcessor],
  logRecordProcessors: [logProcessor],
  metricReaders: [metricReader],
});
sdk.start();

const tracer = traceApi.getTracer('shop');
const logger = logsApi.getLogger('shop');
const counter = metrics.getMeter('shop').createCounter('orders', { unit: '1' });
const durations = metrics.getMeter('shop').createHistogram('order.duration', { unit: 'ms' });

/** So many finished spans, one of them with an error. */
function spans({ name, count }) {
  for (let number = 0; number < count; number += 1) {
    tracer.startActiveSpan(`${name} ${number}`, { attributes: { number, quoted: '"é\n' } }, (span) => {
      span.addEvent('paid', { amount: 9.5 });
      if (number === 0) {
        span.recordException(new Error('no stock'));
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
    });
  }
}

function logRecords({ body, count }) {
  for (let number = 0; number < count; number += 1) {
    logger.emit({ severityNumber: SeverityNumber.WARN, body: `${body} ${number}`, attributes: { ratio: 0.1 } });
  }
}

function metric({ value }) {
  counter.add(value, { shop: 'north' });
  durations.record(value / 3, { shop: 'north' });
}

/** True when everything went out. */
async function flush() {
  const done = await Promise.allSettled([spanProcessor, logProcessor, metricReader].map((one) => one.forceFlush()));
  return done.every((one) => one.status === 'fulfilled');
}

serve({ spans, logs: logRecords, metric, flush }, () => sdk.shutdown());
