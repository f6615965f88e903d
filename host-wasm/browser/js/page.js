// The page's one engine: loads it, gives it the time, carries out what it says. No decision is made here but one: which
// of the browser's ways to send takes a request.
//
//   record --> [ engine ] --poll--> attempt --> fetch keepalive | fetch | sendBeacon --> respond, fail --> poll ...
//
// There is one timer, armed for the earliest of the engine's deadline and the attempts' own; with nothing to do there is
// none. Attempts that would exceed what the page may have in flight with `keepalive` wait here; the engine's limit on
// requests in flight bounds them.

import * as wasm from 'engine';

/** Bytes that all requests with `keepalive` of a page share (Fetch standard; the browser refuses more). */
const KEEPALIVE_BYTES = 65536;
/** How many of them at a time, so that other code of the page finds some of the browser's nine. */
const KEEPALIVE_REQUESTS = 6;
/** Calls that wait for the engine to be loaded. */
const MAX_EARLY = 100;
/** Time after which sending leaves the thread to the page for a moment, in milliseconds. */
const SLICE = 8;
/** The longest pause that a timer takes. */
const MAX_PAUSE = 0x7fffffff;

const NONE = 0xffffffff;
const SEND = 1;
const CLOSED = 2;
/** What `fail` calls them. */
const NETWORK = 0;
const TIMEOUT = 1;
/** Drop reasons `internal_sdk_error` and `too_large`. */
const FAILED = 8;
const TOO_LARGE = 17;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const now = () => performance.now();

let source;
let page;
/** What the module exports: it is instantiated once, and its engine may be started again. */
let exports;

/** Says where the module comes from: a function that gives a URL, bytes, or a promise of either. */
export function setSource(from) {
  source = from;
}

/** The engine of this page, started by whoever asks first. */
export function pageOf(options) {
  if (!page || page.state === 'closed') page = new Page(options);
  return page;
}

/** `fetch` without what instrumentations wrapped around it, so that they do not record, and so cause, our requests. */
function plainFetch() {
  let plain = self.fetch;
  for (let depth = 0; depth < 8; depth++) {
    const inner = plain && (plain.__sentry_original__ || plain.__original);
    if (typeof inner !== 'function') break;
    plain = inner;
  }
  return plain && plain.bind(self);
}

/** The compiled module: `from` is a function that gives one of the others, an address, an answer, bytes or the module itself. */
async function compiled(from) {
  let given = await (typeof from === 'function' ? from() : from);
  if (given instanceof WebAssembly.Module) return given;
  if (typeof given === 'string' || given instanceof URL) given = await fetch(given);
  if (given instanceof Response) {
    if (!given.ok) throw new Error(`no module: ${given.status} at ${given.url}`);
    // Compiled while it comes; browsers do that for this type alone.
    if (given.headers.get('content-type') === 'application/wasm') return WebAssembly.compileStreaming(given);
    given = await given.arrayBuffer();
  }
  return WebAssembly.compile(given);
}

export class Page {
  constructor({ queueBytes = 512 * 1024, wasm: given, offline } = {}) {
    this.state = 'loading';
    this.why = '';
    this.early = [];
    this.destinations = [];
    this.attempts = new Map();
    this.waiting = [];
    this.flights = 0;
    this.flightBytes = 0;
    this.beacons = 0;
    this.unsaid = 0;
    this.flushes = [];
    this.timer = 0;
    this.due = Infinity;
    this.pumping = false;
    this.more = false;
    this.store = offline;
    this.loaded = this.load(queueBytes, given || source);
  }

  async load(queueBytes, from) {
    try {
      if (typeof WebAssembly !== 'object') throw new Error('no WebAssembly');
      this.fetch = plainFetch();
      exports ||= wasm.initSync({ module: await compiled(from) });
      this.memory = exports.memory;
      if (!wasm.start(now(), queueBytes, Math.random() * 2 ** 52)) throw new Error('out of memory');
      if (this.store) this.store.begin(this);
      this.state = 'running';
      this.listen();
      for (const call of this.early.splice(0)) call();
      this.pump();
    } catch (error) {
      // Without an engine every call is without effect; the page must not notice.
      this.state = 'off';
      this.why = String((error && error.message) || error);
      this.early = [];
    }
  }

  /** Runs `call` when the engine is there; a bounded number of calls can wait for it. */
  whenReady(call, destination, category) {
    if (this.state === 'running') call();
    else if (this.state === 'loading') {
      if (this.early.length < MAX_EARLY) this.early.push(call);
      else if (category !== undefined) this.unsaid++;
    }
  }

  // ---- the page's events --------------------------------------------------------------------------------------------

  listen() {
    if (typeof document === 'undefined') return;
    const options = { capture: true };
    this.onHidden = () => {
      // The last event that a mobile browser is sure to fire. The page may live on, so answers are still wanted.
      if (document.visibilityState === 'hidden') this.hand(false);
    };
    this.onLeave = () => this.hand(true);
    this.onShow = (event) => event.persisted && this.pump();
    document.addEventListener('visibilitychange', this.onHidden, options);
    self.addEventListener('pagehide', this.onLeave, options);
    self.addEventListener('pageshow', this.onShow, options);
  }

  unlisten() {
    if (typeof document === 'undefined') return;
    document.removeEventListener('visibilitychange', this.onHidden, true);
    self.removeEventListener('pagehide', this.onLeave, true);
    self.removeEventListener('pageshow', this.onShow, true);
  }

  /** Hands over what is queued, without waiting for company; for good when the page goes away. */
  hand(leaving) {
    if (this.state !== 'running') return;
    wasm.flush(now());
    // Without a network a beacon is taken, and lost: what there is to keep is kept instead.
    const kept = this.store && navigator.onLine === false;
    if (leaving && !kept) for (const attempt of this.waiting.splice(0)) this.beacon(attempt);
    if (!leaving || !kept) this.pump(leaving, true);
    if (this.store && (kept || this.store.stored || wasm.troubled())) this.store.save();
  }

  // ---- records ------------------------------------------------------------------------------------------------------

  /** Opens a destination: `{otlp, key, release, environment, timeout, urls, headers}`; its number, or -1. */
  open(to) {
    const [key, release, environment] = [to.key, to.release, to.environment].map((text) => encoder.encode(text || ''));
    this.write([key, release, environment]);
    const number = wasm.open(now(), to.otlp, to.timeout || 0, key.length, release.length, environment.length);
    if (number === NONE) return -1;
    this.destinations[number] = to;
    // Later, for the caller is about to use the input window.
    if (this.store) setTimeout(() => this.store.adopt(to.urls.join(), number));
    return number;
  }

  /** Copies of what the engine holds, up to `most` bytes: `{list: [{to, bytes}], bytes}`. */
  held(most) {
    const list = [];
    let sum = 0;
    wasm.begin_held();
    while (wasm.next_held()) {
      const bytes = new Uint8Array(this.memory.buffer, wasm.output(), wasm.output_length()).slice();
      if (sum + bytes.length > most) continue;
      sum += bytes.length;
      list.push({ to: this.destinations[wasm.sending_to()].urls.join(), bytes });
    }
    return { list, bytes: sum };
  }

  /** Records a copy that `held` made on an earlier visit. */
  restore(destination, bytes) {
    if (this.state === 'running' && this.write([bytes])) wasm.restore(now(), destination, bytes.length);
  }

  /** Counts such a copy as lost. Its category is the first byte, its quantity stands at the ninth. */
  lostRecord(destination, bytes, reason) {
    if (this.state !== 'running') return;
    const quantity = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
    wasm.lost(now(), destination, bytes[0], reason, quantity);
  }

  /** Puts pieces of bytes into the input window; false when they do not fit. */
  write(pieces) {
    let at = 0;
    const window = new Uint8Array(this.memory.buffer, wasm.input(), wasm.input_length());
    for (const piece of pieces) {
      if (at + piece.length > window.length) return false;
      window.set(piece, at);
      at += piece.length;
    }
    return true;
  }

  /** Writes a text into the input window; its length in bytes, or -1 when it does not fit. */
  writeText(text) {
    const window = new Uint8Array(this.memory.buffer, wasm.input(), wasm.input_length());
    const { read, written } = encoder.encodeInto(text, window);
    return read < text.length ? -1 : written;
  }

  /**
   * Records what `encode` makes (a text or bytes), unless the engine wants none: then nothing is encoded.
   * `kind`: `{form, category, quantity, more, urgent, trace, origin, logBytes}`; form -1 is a whole envelope, of which `more`
   * says what else it counts: `[[category, quantity], ...]`.
   */
  record(destination, kind, encode) {
    const began = now();
    const { form, category, quantity = 1, urgent = false } = kind;
    // One that found no place among the engine's destinations.
    if (destination < 0) return this.lose(destination, kind, FAILED);
    const refused = wasm.admit(began, destination, category, quantity, urgent);
    // The engine has counted the first of its counts.
    if (refused !== NONE) return this.lose(destination, { ...kind, quantity: 0 }, refused);
    let length = -1;
    let reason = TOO_LARGE;
    try {
      const payload = encode(kind);
      if (typeof payload === 'string') length = this.writeText(payload);
      else if (this.write([payload])) length = payload.length;
    } catch {
      // What was to be recorded cannot be read.
      reason = FAILED;
    }
    if (length < 0) this.lose(destination, kind, reason);
    else if (form < 0) wasm.envelope(began, now(), destination, length);
    else {
      const { form, logBytes = 0, trace = 0n, origin = 0 } = kind;
      wasm.record(began, now(), destination, form, category, logBytes, trace, origin, urgent, length);
    }
    if (this.store) this.store.dirty = true;
    this.arm();
  }

  /** Counts a record that the engine never had. */
  lose(destination, { category, quantity = 1, more = [] }, reason) {
    for (const [of, many] of [[category, quantity], ...more]) if (many) wasm.lost(now(), destination, of, reason, many);
  }

  /** Names an encoded resource and scope by a number; -1 when there are too many. */
  origin(destination, resource, scope) {
    if (!this.write([resource, scope])) return -1;
    const number = wasm.origin(destination, resource.length, scope.length);
    return number === NONE ? -1 : number;
  }

  /** Whether a root of this trace is kept at `rate`. */
  keeps(destination, trace, rate) {
    return this.state === 'running' && wasm.sample(now(), destination, trace, rate) === NONE;
  }

  // ---- requests -----------------------------------------------------------------------------------------------------

  /** Makes the attempts that are due: for `SLICE` milliseconds and the rest soon, unless `whole` says that there is no soon. */
  pump(leaving = false, whole = false) {
    if (this.pumping || this.state !== 'running') return;
    this.pumping = true;
    this.more = false;
    const until = now() + SLICE;
    let next;
    while ((next = wasm.poll(now(), Date.now())) === SEND) {
      this.start(leaving);
      this.more = !whole && now() >= until;
      if (this.more) break;
    }
    this.pumping = false;
    if (this.store) this.store.dirty = true;
    this.flushes = this.flushes.filter((flush) => {
      const done = next === CLOSED || wasm.flushed(flush.number);
      if (done || now() >= flush.until) flush.resolve(done);
      return !done && now() < flush.until;
    });
    if (next === CLOSED) this.end();
    else this.arm();
  }

  /** Makes an attempt of what the engine just gave out. */
  start(leaving) {
    const to = this.destinations[wasm.sending_to()];
    const body = new Uint8Array(this.memory.buffer, wasm.output(), wasm.output_length()).slice();
    const attempt = {
      id: wasm.sending_id(),
      url: to.urls[wasm.sending_signal()],
      type: to.otlp ? 'application/x-protobuf' : '',
      headers: to.headers,
      until: now() + wasm.sending_timeout(),
      body,
      abort: new AbortController(),
    };
    this.attempts.set(attempt.id, attempt);
    if (leaving) this.beacon(attempt);
    else if (body.length > KEEPALIVE_BYTES) this.send(attempt, false);
    else if (this.mayFly(body.length)) this.send(attempt, true);
    else this.waiting.push(attempt);
  }

  mayFly(length) {
    return this.flights < KEEPALIVE_REQUESTS && this.flightBytes + length <= KEEPALIVE_BYTES;
  }

  /** The way of a page that goes away: nobody will hear the answer, but the browser says whether it took the request. */
  beacon(attempt) {
    const { body, type, url } = attempt;
    // A beacon carries no headers; what needs some goes by `fetch`, and is settled if the page comes back.
    if (attempt.headers || !navigator.sendBeacon) return this.send(attempt, this.mayFly(body.length));
    let taken = false;
    try {
      taken = navigator.sendBeacon(url, type ? new Blob([body], { type }) : body);
    } catch {
      // Not a URL that beacons take: as if the browser had refused it.
    }
    this.attempts.delete(attempt.id);
    if (!taken) return wasm.fail(now(), attempt.id, NETWORK);
    this.beacons++;
    wasm.respond(now(), Date.now(), attempt.id, 200, -1, -1, -1, 0);
  }

  async send(attempt, keepalive) {
    const { id, body, url, type, headers, abort } = attempt;
    const length = keepalive ? body.length : 0;
    this.flights += keepalive ? 1 : 0;
    this.flightBytes += length;
    let answer;
    try {
      answer = await this.fetch(url, {
        method: 'POST',
        body,
        keepalive,
        // Bytes without a type need no preflight; a server takes them for an envelope.
        headers: type || headers ? { ...(type && { 'content-type': type }), ...headers } : undefined,
        referrerPolicy: 'strict-origin',
        signal: abort.signal,
      });
      attempt.text = await firstBytes(answer, type ? 65536 : 0);
    } catch {
      answer = undefined;
    }
    this.flights -= keepalive ? 1 : 0;
    this.flightBytes -= length;
    if (this.attempts.delete(id) && this.state === 'running') {
      if (answer) this.respond(id, answer, attempt.text);
      else wasm.fail(now(), id, NETWORK);
    }
    this.launch();
    this.pump();
  }

  /** Starts the attempts that waited for others to end. */
  launch() {
    while (this.waiting.length && this.mayFly(this.waiting[0].body.length)) this.send(this.waiting.shift(), true);
  }

  respond(id, answer, body) {
    const texts = ['retry-after', 'x-sentry-rate-limits', 'content-type'].map((name) => answer.headers.get(name));
    const pieces = texts.map((text) => encoder.encode(text || ''));
    const lengths = pieces.map((piece, at) => (texts[at] === null ? -1 : piece.length));
    if (!this.write([...pieces, body])) this.write([...pieces, (body = new Uint8Array())]);
    wasm.respond(now(), Date.now(), id, answer.status, ...lengths, body.length);
  }

  // ---- time ---------------------------------------------------------------------------------------------------------

  arm() {
    if (this.state !== 'running') return;
    const time = now();
    if (this.timer && this.due <= time) return;
    let due = this.more ? time : wasm.deadline(time);
    for (const { until } of this.attempts.values()) due = Math.min(due, until);
    for (const { until } of this.flushes) due = Math.min(due, until);
    if (this.store) due = Math.min(due, this.store.due(wasm.troubled()));
    if (this.timer && due === this.due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = due === Infinity ? 0 : setTimeout(() => this.tick(), Math.min(Math.max(due - time, 0), MAX_PAUSE));
  }

  tick() {
    this.timer = 0;
    this.due = Infinity;
    const time = now();
    for (const attempt of this.attempts.values()) {
      if (attempt.until > time) continue;
      this.attempts.delete(attempt.id);
      this.waiting = this.waiting.filter((other) => other !== attempt);
      attempt.abort.abort();
      wasm.fail(time, attempt.id, TIMEOUT);
    }
    this.pump();
    if (this.store && this.store.due(wasm.troubled()) <= now()) this.store.save();
  }

  // ---- the end ------------------------------------------------------------------------------------------------------

  /** Sends everything recorded so far, waiting for it until `timeout` milliseconds passed; true when all is settled. */
  async flush(timeout) {
    const until = now() + timeout;
    // The load counts for the time, too.
    if (this.state === 'loading') await Promise.race([this.loaded, new Promise((end) => setTimeout(end, timeout))]);
    if (this.state !== 'running') return this.state !== 'loading';
    return new Promise((resolve) => {
      this.flushes.push({ number: wasm.flush(now()), resolve, until });
      this.pump();
    });
  }

  /** Accepts nothing more, sends until `timeout` milliseconds passed and drops the rest; true when nothing was left. */
  async close(timeout) {
    const until = now() + timeout;
    if (this.state === 'loading') await this.flush(timeout);
    if (this.state !== 'running') {
      this.state = 'closed';
      this.early = [];
      return true;
    }
    const before = this.dropped();
    const ended = new Promise((resolve) => (this.onEnd = resolve));
    wasm.close(now(), until);
    this.pump();
    await ended;
    return this.dropped() === before;
  }

  dropped() {
    return (this.last || this.status()).dropped.reduce((sum, { quantity }) => sum + quantity, 0);
  }

  end() {
    this.last = { ...this.status(), state: 'closed' };
    this.state = 'closed';
    clearTimeout(this.timer);
    this.unlisten();
    for (const { abort } of this.attempts.values()) abort.abort();
    this.attempts.clear();
    this.waiting = [];
    if (this.store) this.store.save();
    if (this.onEnd) this.onEnd();
  }

  status() {
    if (this.last) return this.last;
    const { state, why, flights, flightBytes, beacons, unsaid } = this;
    const page = { state, why, keepalive: { requests: flights, bytes: flightBytes }, beacons, unsaid };
    page.waiting = this.waiting.length;
    if (state !== 'running') return { ...page, health: 'healthy', causes: [], categories: {}, dropped: [], destinations: [] };
    wasm.status();
    const text = decoder.decode(new Uint8Array(this.memory.buffer, wasm.output(), wasm.output_length()));
    return { ...JSON.parse(text), ...page };
  }
}

/** The first bytes of an answer; what lies beyond is not read. */
async function firstBytes(answer, most) {
  const reader = answer.body && answer.body.getReader();
  let bytes = new Uint8Array();
  while (reader) {
    const { done, value } = bytes.length < most ? await reader.read() : { done: true };
    if (done) {
      reader.cancel().catch(() => {});
      break;
    }
    const joined = new Uint8Array(Math.min(bytes.length + value.length, most));
    joined.set(bytes);
    joined.set(value.subarray(0, joined.length - bytes.length), bytes.length);
    bytes = joined;
  }
  return bytes;
}
