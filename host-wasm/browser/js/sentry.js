// The transport for `@sentry/browser` (and `@sentry/react`, ...): `Sentry.init({dsn, transport: makeSurgetankTransport})`.
// The SDK makes the envelopes; this delivers them.

import { pageOf } from './page.js';
import { DEFAULT, ENVELOPE, ERROR, LOG, SPAN } from './records.js';

const encoder = new TextEncoder();

/** Categories of item types, to ask before an envelope is written; what is not here is asked as `default`. */
const CATEGORIES = {
  event: ERROR,
  transaction: 2,
  raw_security: 3,
  session: 5,
  sessions: 5,
  profile: 6,
  replay_event: 7,
  replay_recording: 7,
  check_in: 10,
  span: SPAN,
  feedback: 14,
  user_report: 14,
  profile_chunk: 18,
  log: LOG,
  trace_metric: 33,
  client_report: 39,
};
const ATTACHMENT = 4;
const ATTACHMENT_ITEM = 22;

/** What an item counts, as the engine would count it, but for bytes of logs and metrics: `[[category, quantity], ...]`. */
function countsOf([{ type, item_count: count = 1 }, payload]) {
  if (type === 'transaction') return [[CATEGORIES[type], 1], [SPAN, 1 + (payload.spans || []).length]];
  if (type === 'attachment') return [[ATTACHMENT, payload.length || 1], [ATTACHMENT_ITEM, 1]];
  return [[CATEGORIES[type] ?? DEFAULT, count]];
}

/** An envelope of the SDK (`[headers, [[itemHeaders, payload], ...]]`) as bytes. */
export function serialize([headers, items]) {
  const pieces = [JSON.stringify(headers) + '\n'];
  for (const [itemHeaders, payload] of items) {
    const raw = typeof payload === 'string' || payload instanceof Uint8Array;
    const bytes = raw ? payload : JSON.stringify(payload);
    const body = typeof bytes === 'string' ? encoder.encode(bytes) : bytes;
    pieces.push(JSON.stringify({ ...itemHeaders, length: body.length }) + '\n', body, '\n');
  }
  const parts = pieces.map((piece) => (typeof piece === 'string' ? encoder.encode(piece) : piece));
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A transport of `@sentry/browser`, major 8 and later. */
export function makeSurgetankTransport(options) {
  const page = pageOf(options.surgetank);
  const headers = options.headers && Object.keys(options.headers).length ? options.headers : undefined;
  let number;
  const destination = () => (number ??= page.open({ urls: [options.url], headers }));
  page.whenReady(destination);
  return {
    async send(envelope) {
      const items = envelope[1];
      if (!items.length) return {};
      const more = items.flatMap(countsOf);
      const first = more.findIndex(([category]) => category !== DEFAULT);
      const [[category, quantity]] = more.splice(Math.max(first, 0), 1);
      page.whenReady(() => {
        page.record(destination(), { form: ENVELOPE, category, quantity, more }, () => serialize(envelope));
      }, category);
      return {};
    },
    flush: (timeout) => page.flush(timeout || 30000),
  };
}
