// The span exporter and the span processor for `@opentelemetry/sdk-trace-web`. The processor needs no other: the engine
// gathers spans, so a batch processor before the exporter only adds a queue of its own.

import { pageOf } from './page.js';
import { OtlpRecords, otlpUrls } from './records.js';

const SAMPLED = 1;

function recordsOf(options = {}) {
  const { endpoint = 'http://localhost:4318', url, headers, timeoutMs, surgetank } = options;
  const urls = url ? ['', url, url, url] : otlpUrls(endpoint);
  const page = pageOf(surgetank);
  const records = new OtlpRecords(page, { urls, headers, timeout: timeoutMs });
  page.whenReady(() => records.destination());
  return records;
}

/** A `SpanExporter`: for `BatchSpanProcessor` or `SimpleSpanProcessor`. */
export class SurgetankSpanExporter {
  constructor(options) {
    this.records = recordsOf(options);
    this.stopped = false;
  }

  export(spans, done) {
    // 0 is SUCCESS, 1 FAILED: taken over, which is all that the SDK waits for.
    if (this.stopped) return done({ code: 1, error: new Error('the exporter was shut down') });
    for (const span of spans) this.records.span(span);
    done({ code: 0 });
  }

  async forceFlush() {
    await this.records.page.flush(10000);
  }

  async shutdown() {
    this.stopped = true;
    await this.forceFlush();
  }
}

/** A `SpanProcessor` that records every sampled span when it ends. */
export class SurgetankSpanProcessor {
  constructor(options) {
    this.records = recordsOf(options);
    this.stopped = false;
  }

  onStart() {}

  onEnd(span) {
    if (!this.stopped && span.spanContext().traceFlags & SAMPLED) this.records.span(span);
  }

  async forceFlush() {
    await this.records.page.flush(10000);
  }

  async shutdown() {
    this.stopped = true;
    await this.forceFlush();
  }
}
