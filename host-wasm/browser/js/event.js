// Events of the Sentry protocol, made from what JavaScript throws.

/** Errors followed along `cause`. */
const MAX_CAUSES = 5;
/** Frames of one stack. */
const MAX_FRAMES = 50;
/** Characters of a message. */
const MAX_MESSAGE = 8192;

const CHROME = /^\s*at (?:async )?(?:(.*?) ?\()?(?:eval at .*?, )?((?:[\w.+-]+:\/\/|\/|<anonymous>)[^()]*?)(?::(\d+))?(?::(\d+))?\)?$/;
const OTHERS = /^(?:(.*?)@)((?:[\w.+-]+:\/\/|\/|\[).*?)(?::(\d+))?(?::(\d+))?$/;

/** Random bytes for identifiers, taken many at a time: each taking has a price, and a loop of spans pays it twice a span. */
const random = new Uint8Array(1024);
let used = random.length;
const HEX = Array.from({ length: 256 }, (_, byte) => (byte + 256).toString(16).slice(1));

/** So many random bytes, in hexadecimal; 16 at most. */
export function hex(bytes) {
  if (used + bytes > random.length) {
    crypto.getRandomValues(random);
    used = 0;
  }
  let text = '';
  for (const end = used + bytes; used < end; used++) text += HEX[random[used]];
  return text;
}

/** The frames of a stack, outermost first, as Sentry wants them. */
export function framesOf(stack) {
  const frames = [];
  for (const line of String(stack || '').split('\n')) {
    const match = line.length < 1024 && (CHROME.exec(line) || OTHERS.exec(line));
    if (!match) continue;
    const frame = { function: match[1] || '?', filename: match[2], in_app: true };
    if (match[3]) frame.lineno = +match[3];
    if (match[4]) frame.colno = +match[4];
    frames.push(frame);
    if (frames.length === MAX_FRAMES) break;
  }
  return frames.reverse();
}

/** Type, message and frames of anything thrown. */
export function exceptionOf(thrown) {
  if (thrown && typeof thrown === 'object' && typeof thrown.message === 'string') {
    return { type: thrown.name || 'Error', value: thrown.message.slice(0, MAX_MESSAGE), frames: framesOf(thrown.stack) };
  }
  let value;
  try {
    value = typeof thrown === 'string' ? thrown : JSON.stringify(thrown) ?? String(thrown);
  } catch {
    value = Object.prototype.toString.call(thrown);
  }
  return { type: 'NonError', value: value.slice(0, MAX_MESSAGE), frames: [] };
}

/** An error and its causes: the outermost cause first, as Sentry wants them. */
export function exceptionsOf(thrown, mechanism) {
  const values = [];
  for (let at = thrown; at !== undefined && at !== null && values.length < MAX_CAUSES; at = at && at.cause) {
    const { type, value, frames } = exceptionOf(at);
    values.push({ type, value, stacktrace: frames.length ? { frames } : undefined, mechanism: values.length ? undefined : mechanism });
  }
  return values.reverse();
}

/** One event as the text of a whole envelope. */
export function envelopeOf(event, sdk) {
  const id = hex(16);
  const payload = JSON.stringify({ event_id: id, platform: 'javascript', ...event, sdk });
  return `{"event_id":"${id}"}\n{"type":"event"}\n${payload}\n`;
}

/** Where the page is, for events. */
export function requestOf() {
  if (typeof document === 'undefined') return undefined;
  const headers = { 'User-Agent': navigator.userAgent };
  if (document.referrer) headers.Referer = document.referrer;
  return { url: location.href, headers };
}
