// A program with `@sentry/node`, as an application would have it: every kind of telemetry that the SDK knows.
//
// SENTRY_DSN names the receiver, TRACE_LIFECYCLE how traces are sent: whole ("static") or span by span ("stream").
'use strict';

const { randomBytes } = require('node:crypto');
const Sentry = require('@sentry/node');
const { serve } = require('./commands.cjs');

// Bytes that a reader of lines would stumble over.
const ATTACHMENT = Buffer.concat([
  Buffer.from('first line\n\n\x00{}\n'),
  Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
]);

Sentry.init({
  release: 'shop@1.0.0',
  environment: 'test',
  tracesSampleRate: 1.0,
  enableLogs: true,
  traceLifecycle: process.env.TRACE_LIFECYCLE ?? 'static',
});

/** One event with a stack trace; its id. */
function error({ message, attached = false }) {
  return Sentry.withScope((scope) => {
    if (attached) {
      scope.addAttachment({ data: ATTACHMENT, filename: 'attached.bin', contentType: 'application/octet-stream' });
    }
    return Sentry.captureException(new Error(message));
  });
}

/** One event with so many bytes attached. */
function largeError({ message, size }) {
  return Sentry.withScope((scope) => {
    scope.addAttachment({ data: randomBytes(size), filename: 'large.bin' });
    return Sentry.captureMessage(message, 'error');
  });
}

/** A finished trace of so many spans below its root; its trace id. */
function trace({ name, spans }) {
  return Sentry.startNewTrace(() =>
    Sentry.startSpan({ name, op: 'task' }, (root) => {
      for (let number = 0; number < spans; number += 1) {
        Sentry.startSpan({ name: `step ${number}`, op: 'step' }, () => {});
      }
      return root.spanContext().traceId;
    }),
  );
}

/** So many log records, with text that JSON must escape. */
function logs({ body, count }) {
  for (let number = 0; number < count; number += 1) {
    Sentry.logger.warn(`${body} ${number}`, { quoted: '"\\\n\u2028é', ratio: 0.1, ok: true });
  }
}

function metric({ name, value }) {
  Sentry.metrics.count(name, value);
  Sentry.metrics.distribution(`${name}.time`, value / 3, { unit: 'millisecond' });
}

/** A session, begun and ended. */
function session({ errored }) {
  Sentry.startSession();
  if (errored) {
    error({ message: 'in a session' });
  }
  Sentry.endSession();
}

/** A job that began and ended well; the check-in's id. */
function checkIn({ slug }) {
  const checkInId = Sentry.captureCheckIn({ monitorSlug: slug, status: 'in_progress' });
  return Sentry.captureCheckIn({ monitorSlug: slug, checkInId, status: 'ok', duration: 0.25 });
}

function feedback({ message }) {
  return Sentry.captureFeedback({ message, name: 'Ada', email: 'ada@example.org' });
}

const flush = ({ timeout }) => Sentry.flush(timeout * 1000);

serve(
  { error, large_error: largeError, trace, logs, metric, session, check_in: checkIn, feedback, flush },
  () => Sentry.close(30_000),
);
