// OTLP messages made from OpenTelemetry's JavaScript objects (opentelemetry-proto, trace.proto, logs.proto, common.proto).

import { Writer } from './protobuf.js';

/** Nesting of attribute values that is followed. */
const MAX_DEPTH = 8;

const SEVERITY = { trace: 1, debug: 5, info: 9, warn: 13, warning: 13, error: 17, fatal: 21 };

/** Nanoseconds of `[seconds, nanoseconds]`, of a `Date` or of milliseconds. */
export function nanos(time) {
  if (Array.isArray(time)) return BigInt(time[0]) * 1000000000n + BigInt(time[1]);
  return BigInt(Math.round(Number(time) * 1000)) * 1000n;
}

function anyValue(out, value, depth) {
  if (typeof value === 'string') out.raw(1, new TextEncoder().encode(value));
  else if (typeof value === 'boolean') {
    out.varint(2 << 3);
    out.varint(value ? 1 : 0);
  } else if (Number.isSafeInteger(value)) {
    out.varint(3 << 3);
    out.varint(value);
  } else if (typeof value === 'number') out.double(4, value);
  else if (value instanceof Uint8Array) out.raw(7, value);
  else if (depth > 0 && Array.isArray(value)) {
    out.message(5, () => value.forEach((one) => out.message(1, () => anyValue(out, one, depth - 1))));
  } else if (depth > 0 && value && typeof value === 'object') out.message(6, () => attributes(out, 1, value, depth - 1));
}

function attributes(out, field, values, depth = MAX_DEPTH) {
  for (const key of Object.keys(values || {})) {
    if (values[key] === undefined || values[key] === null) continue;
    out.message(field, () => {
      out.text(1, key);
      out.message(2, () => anyValue(out, values[key], depth));
    });
  }
}

/** A `Resource`. */
export function resource(values) {
  const out = new Writer();
  attributes(out, 1, values);
  return out.done();
}

/** An `InstrumentationScope`. */
export function scope({ name, version } = {}) {
  const out = new Writer();
  out.text(1, name);
  out.text(2, version);
  return out.done();
}

/** Flags that say that it is known whether a context is remote, and whether it is. */
const flagsOf = (traceFlags, isRemote) => (traceFlags & 0xff) | 0x100 | (isRemote ? 0x200 : 0);

/** A `Span` of an ended span of the OpenTelemetry SDK (1.x and 2.x). */
export function span(ended) {
  const out = new Writer();
  const context = ended.spanContext();
  const parent = ended.parentSpanContext;
  out.id(1, context.traceId);
  out.id(2, context.spanId);
  out.text(3, context.traceState && context.traceState.serialize());
  out.id(4, parent ? parent.spanId : ended.parentSpanId);
  out.text(5, ended.name);
  out.unsigned(6, ended.kind + 1);
  out.fixed64(7, nanos(ended.startTime));
  out.fixed64(8, nanos(ended.endTime));
  attributes(out, 9, ended.attributes);
  out.unsigned(10, ended.droppedAttributesCount);
  for (const event of ended.events || []) {
    out.message(11, () => {
      out.fixed64(1, nanos(event.time));
      out.text(2, event.name);
      attributes(out, 3, event.attributes);
      out.unsigned(4, event.droppedAttributesCount);
    });
  }
  out.unsigned(12, ended.droppedEventsCount);
  for (const one of ended.links || []) {
    out.message(13, () => {
      const { traceId, spanId, traceState, traceFlags, isRemote } = one.context;
      out.id(1, traceId);
      out.id(2, spanId);
      out.text(3, traceState && traceState.serialize());
      attributes(out, 4, one.attributes);
      out.unsigned(5, one.droppedAttributesCount);
      out.fixed32(6, flagsOf(traceFlags, isRemote));
    });
  }
  out.unsigned(14, ended.droppedLinksCount);
  const { code, message } = ended.status || {};
  if (code) {
    out.message(15, () => {
      out.text(2, message);
      out.unsigned(3, code);
    });
  }
  out.fixed32(16, flagsOf(context.traceFlags, parent && parent.isRemote));
  return out.done();
}

/** A `LogRecord`. */
export function log({ level, body, attributes: values, traceId, spanId, time }) {
  const out = new Writer();
  out.fixed64(1, nanos(time));
  out.unsigned(2, SEVERITY[level] || 9);
  out.text(3, String(level).toUpperCase());
  out.message(5, () => anyValue(out, body, MAX_DEPTH));
  attributes(out, 6, values);
  out.id(9, traceId);
  out.id(10, spanId);
  out.fixed64(11, nanos(time));
  return out.done();
}

/** A whole request with one record, for a resource and scope that have no number. */
export function request(resource, scope, record) {
  const out = new Writer();
  out.message(1, () => {
    out.raw(1, resource);
    out.message(2, () => {
      out.raw(1, scope);
      out.raw(2, record);
    });
  });
  return out.done();
}
