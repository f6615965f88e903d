// The client that pages use by itself: errors, messages, spans and logs, to Sentry or to an OTLP receiver.

import { envelopeOf, exceptionOf, exceptionsOf, hex, requestOf } from './event.js';
import { log as otlpLog, span as otlpSpan } from './otlp.js';
import { pageOf } from './page.js';
import { dsnOf, ELEMENT, ENVELOPE, ERROR, LOG, OtlpRecords, otlpUrls, SPAN, traceKey } from './records.js';

const SDK = { name: 'sentry.javascript.surgetank', version: VERSION };
const SCOPE = { name: 'surgetank', version: VERSION };
const SEVERITY = { trace: 1, debug: 5, info: 9, warn: 13, error: 17, fatal: 21 };
const LEVELS = { warn: 'warning', trace: 'debug' };

const seconds = (millis) => millis / 1000;
// Read once: it never changes, and reading it takes as long as reading the clock.
const { timeOrigin } = performance;
const wall = () => timeOrigin + performance.now();

/** An attribute of Sentry's protocol. */
function attribute(value) {
  if (typeof value === 'string') return { value, type: 'string' };
  if (typeof value === 'boolean') return { value, type: 'boolean' };
  if (typeof value === 'number') return { value, type: Number.isInteger(value) ? 'integer' : 'double' };
  return { value: JSON.stringify(value) ?? String(value), type: 'string' };
}

function attributesOf(values) {
  const attributes = {};
  for (const key of Object.keys(values || {})) {
    if (values[key] !== undefined && values[key] !== null) attributes[key] = attribute(values[key]);
  }
  return attributes;
}

/** What attributes count in the category of log bytes: text by its length, numbers as 8, truth values as 1. */
function bytesOf(attributes) {
  let sum = 0;
  for (const key of Object.keys(attributes)) {
    const { value, type } = attributes[key];
    sum += key.length + (type === 'string' ? value.length : type === 'boolean' ? 1 : 8);
  }
  return sum;
}

/** One operation: its time, name and attributes. Ends once; only then it is recorded. */
class Span {
  constructor(client, name, { attributes, parent, kind } = {}) {
    this.client = client;
    this.name = name;
    this.kind = { server: 1, client: 2, producer: 3, consumer: 4 }[kind] || 0;
    this.attributes = { ...attributes };
    this.status = { code: 0 };
    this.start = wall();
    this.spanId = hex(8);
    this.parentSpanId = parent ? parent.spanId : undefined;
    this.traceId = parent ? parent.traceId : hex(16);
    this.sampled = parent ? parent.sampled : client.keeps(this.traceId);
    this.ended = false;
  }

  setAttribute(key, value) {
    this.attributes[key] = value;
    return this;
  }

  setStatus(status, message) {
    this.status = { code: status === 'error' ? 2 : 1, message };
    return this;
  }

  startSpan(name, options) {
    return new Span(this.client, name, { ...options, parent: this });
  }

  traceparent() {
    return `00-${this.traceId}-${this.spanId}-0${this.sampled ? 1 : 0}`;
  }

  end() {
    if (this.ended) return;
    this.ended = true;
    this.finish = wall();
    if (this.sampled) this.client.recordSpan(this);
  }
}

export class Client {
  constructor(options) {
    this.options = options;
    this.page = pageOf(options);
    this.removals = [];
    const { dsn, otlpEndpoint, release, environment, headers, serviceName } = options;
    const to = { release, environment, headers, timeout: options.timeoutMs };
    if (dsn) {
      const { key, url } = dsnOf(dsn);
      this.to = { ...to, key, urls: [options.tunnel || url] };
      this.destination = () => (this.number ??= this.page.open(this.to));
    } else if (otlpEndpoint) {
      this.otlp = new OtlpRecords(this.page, { ...to, urls: otlpUrls(otlpEndpoint) });
      this.destination = () => this.otlp.destination();
      this.resource = {
        'service.name': serviceName || 'unknown_service:browser',
        'service.version': release,
        'deployment.environment.name': environment,
        'telemetry.sdk.language': 'webjs',
        'telemetry.sdk.name': 'surgetank',
        'telemetry.sdk.version': VERSION,
        ...options.resource,
      };
    } else throw new Error('init wants a dsn or an otlpEndpoint');
    // What an earlier visit kept for it goes on, also if this one records nothing.
    this.page.whenReady(() => this.destination());
    // A server that renders pages has neither events nor an engine.
    if (options.globalHandlers !== false && typeof addEventListener === 'function') this.listen();
  }

  listen() {
    const on = (type, handler) => {
      self.addEventListener(type, handler);
      this.removals.push(() => self.removeEventListener(type, handler));
    };
    on('error', ({ error, message, filename, lineno, colno }) => {
      // Errors of resources (an image that is missing) have neither.
      if (!error && !message) return;
      const place = filename ? `\n    at ${filename}:${lineno}:${colno}` : '';
      const thrown = error ?? { name: 'Error', message, stack: message + place };
      this.captureException(thrown, { mechanism: { type: 'onerror', handled: false } });
    });
    on('unhandledrejection', ({ reason }) => {
      this.captureException(reason, { mechanism: { type: 'onunhandledrejection', handled: false } });
    });
  }

  keeps(traceId) {
    const { tracesSampleRate = 1 } = this.options;
    if (this.page.state !== 'running') return tracesSampleRate > Math.random();
    return this.page.keeps(this.destination(), traceKey(traceId), tracesSampleRate);
  }

  captureException(thrown, hint = {}) {
    const level = hint.level || (hint.mechanism && hint.mechanism.handled === false ? 'fatal' : 'error');
    if (!this.otlp) {
      const mechanism = hint.mechanism || { type: 'generic', handled: true };
      return this.event(hint, level, () => ({ exception: { values: exceptionsOf(thrown, mechanism) } }));
    }
    const time = wall();
    this.otlp.record(LOG, hint.span && hint.span.traceId, true, this.resource, SCOPE, () => {
      const { type, value } = exceptionOf(thrown);
      const attributes = { 'exception.type': type, 'exception.message': value, ...hint.tags, ...hint.extra };
      if (thrown && thrown.stack) attributes['exception.stacktrace'] = String(thrown.stack);
      return otlpLog({ level, body: value, attributes, time, ...idsOf(hint.span) });
    });
  }

  captureMessage(text, level = 'info', hint = {}) {
    if (this.otlp) this.log(level, text, { ...hint.tags, ...hint.extra }, hint.span);
    else this.event(hint, level, () => ({ message: String(text) }));
  }

  event(hint, level, make) {
    const { release, environment } = this.options;
    const timestamp = seconds(wall());
    this.page.whenReady(() => {
      this.page.record(this.destination(), { form: ENVELOPE, category: ERROR }, () => {
        const { tags, extra, user, span } = hint;
        const trace = span && { trace_id: span.traceId, span_id: span.spanId };
        const contexts = trace && { trace };
        const event = { timestamp, level: LEVELS[level] || level, release, environment, tags, extra, user, contexts, request: requestOf() };
        return envelopeOf({ ...event, ...make() }, SDK);
      });
    }, ERROR);
  }

  log(level, body, values, span) {
    const time = wall();
    if (this.otlp) {
      return this.otlp.record(LOG, span && span.traceId, false, this.resource, SCOPE, () =>
        otlpLog({ level, body, attributes: values, time, ...idsOf(span) }),
      );
    }
    this.page.whenReady(() => {
      const kind = { form: ELEMENT, category: LOG, trace: traceKey(span && span.traceId) };
      this.page.record(this.destination(), kind, (kind) => {
        const { release, environment } = this.options;
        const attributes = attributesOf({ ...values, 'sentry.release': release, 'sentry.environment': environment });
        attributes['sentry.sdk.name'] = attribute(SDK.name);
        attributes['sentry.sdk.version'] = attribute(SDK.version);
        body = String(body);
        kind.logBytes = body.length + bytesOf(attributes) || 1;
        this.traceId ||= hex(16);
        const line = { timestamp: seconds(time), trace_id: span ? span.traceId : this.traceId, span_id: span && span.spanId };
        const name = level === 'warning' ? 'warn' : level;
        return JSON.stringify({ ...line, level: name, severity_number: SEVERITY[name] || 9, body, attributes });
      });
    }, LOG);
  }

  startSpan(name, options) {
    return new Span(this, name, options);
  }

  recordSpan(span) {
    const { traceId, spanId, parentSpanId, name, kind, start, finish, attributes, status } = span;
    if (this.otlp) {
      const context = { traceId, spanId, traceFlags: 1 };
      const ended = { name, kind, startTime: start, endTime: finish, attributes, status, spanContext: () => context, parentSpanId };
      return this.otlp.record(SPAN, traceId, false, this.resource, SCOPE, () => otlpSpan(ended));
    }
    this.page.whenReady(() => {
      const record = { form: ELEMENT, category: SPAN, trace: traceKey(traceId) };
      this.page.record(this.destination(), record, () =>
        JSON.stringify({
          trace_id: traceId,
          span_id: spanId,
          parent_span_id: parentSpanId,
          name,
          status: status.code === 2 ? 'error' : 'ok',
          is_segment: !parentSpanId,
          start_timestamp: seconds(start),
          end_timestamp: seconds(finish),
          attributes: attributesOf(attributes),
        }),
      );
    }, SPAN);
  }

  status() {
    return this.page.status();
  }

  flush(timeoutMs = 2000) {
    return this.page.flush(timeoutMs);
  }

  async close(timeoutMs = 2000) {
    for (const remove of this.removals.splice(0)) remove();
    return this.page.close(timeoutMs);
  }
}

const idsOf = (span) => (span ? { traceId: span.traceId, spanId: span.spanId } : {});

/** Calls without effect, for a page in which settings are wrong: telemetry must not be what breaks it. */
class Nothing extends Client {
  constructor(why) {
    super({ otlpEndpoint: 'off:', globalHandlers: false });
    this.page = { state: 'off', why, whenReady() {}, status: () => ({ state: 'off', why }), flush: async () => true, close: async () => true };
    this.otlp.page = this.page;
  }
}

/** Makes the page's client. Wrong settings are said once, on the console; the client then does nothing. */
export function init(options) {
  try {
    return new Client(options);
  } catch (error) {
    console.error(`surgetank is off: ${error.message}`);
    return new Nothing(error.message);
  }
}
