// surgetank's module in Node.js: this program has the clock and the network, the module decides.
//
//   cargo xtask wasm
//   node examples/module-node/main.mjs dist/surgetank.wasm
//
// A Sentry server of its own is overloaded at first, then well, then limits logs. What the module is asked is described in
// host-wasm/module/ABI.md.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

const LOG_ITEM = 23;

/** One engine. */
class Surgetank {
  constructor(module, settings) {
    const { memory, ...calls } = new WebAssembly.Instance(module).exports;
    Object.assign(this, { memory, calls });
    this.started = performance.now();
    this.ask('init', settings, (length) => [length, this.now(), 1n]);
  }

  /** Microseconds since the start. */
  now() {
    return BigInt(Math.round((performance.now() - this.started) * 1000));
  }

  /** Calls a function with `input` in the input window. */
  ask(name, input, numbers) {
    const { surgetank_input: at, surgetank_input_size: size } = this.calls;
    if (input.length > size()) throw new RangeError('larger than the input window');
    // A new view for each call: memory grows in `init`, and views of it end then.
    new Uint8Array(this.memory.buffer, at() >>> 0, input.length).set(input);
    const value = Number(this.calls[`surgetank_${name}`](...numbers(input.length)));
    if (value < 0) throw new Error(`${name}: ${value} ${this.text(this.calls.surgetank_explain())}`);
    return value;
  }

  output(length) {
    return new DataView(this.memory.buffer, this.calls.surgetank_output() >>> 0, length);
  }

  text(length) {
    return new TextDecoder().decode(this.output(length));
  }

  open(settings) {
    return this.ask('open', settings, (length) => [length, this.now()]);
  }

  /** Offers an envelope (form 0); 0 when it is queued, n when it was dropped for reason n - 1. */
  envelope(destination, text) {
    const payload = new TextEncoder().encode(text);
    return this.ask('record_whole', payload, (length) => [destination, 0, 0, length, this.now()]);
  }

  /** Carries out what is to be done now. Returns milliseconds until there is more, or undefined. */
  async round(post) {
    for (;;) {
      const what = this.ask('poll', [], () => [this.now()]);
      const output = this.output(40);
      if (what === 0) {
        const left = Number(output.getBigUint64(8, true) - this.now()) / 1000;
        return output.getUint32(0, true) ? Math.max(left, 0) : undefined;
      }
      if (what === 1) await this.send(output.getBigUint64(0, true), post);
      if (what === 3) return undefined;
    }
  }

  async send(request, post) {
    const wall = BigInt(Date.now()) * 1000n;
    const pieces = [];
    for (let offset = 0n, length; ; offset += BigInt(length)) {
      length = this.ask('body', [], () => [request, wall, offset, 0]);
      if (length === 0) break;
      pieces.push(Buffer.from(new Uint8Array(this.memory.buffer, this.output(length).byteOffset, length)));
    }
    const answer = await post(Buffer.concat(pieces)).catch(() => undefined);
    if (!answer) return this.ask('failure', [], () => [request, 1, this.now()]);
    const parts = [field(1, number(answer.status)), field(2, number(wall))];
    for (const [tag, header] of [[3, 'retry-after'], [4, 'x-sentry-rate-limits']]) {
      const value = answer.headers.get(header);
      if (value !== null) parts.push(field(tag, Buffer.from(value)));
    }
    return this.ask('response', Buffer.concat(parts), (length) => [request, length, this.now()]);
  }

  status() {
    return JSON.parse(this.text(this.ask('status', [], () => [])));
  }
}

function number(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function field(tag, bytes) {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(tag);
  head.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

// ---- the program ------------------------------------------------------------------------------------------------------

const received = [];
let attempts = 0;
const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  attempts += 1;
  if (attempts === 1) return response.writeHead(503).end();
  received.push(Buffer.concat(chunks).toString());
  response.writeHead(200, { 'x-sentry-rate-limits': '86400:log_item:organization' }).end();
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const url = `http://127.0.0.1:${server.address().port}/api/1/envelope/`;
const post = (body) => fetch(url, { method: 'POST', body, signal: AbortSignal.timeout(30_000) });

const module = new WebAssembly.Module(await readFile(process.argv[2] ?? 'dist/surgetank.wasm'));
assert.deepEqual(WebAssembly.Module.imports(module), []);
const engine = new Surgetank(module, field(1, number(64 * 1024)));
// A Sentry server that is tried again after 50 ms.
const sentry = engine.open(Buffer.concat([field(64, number(0)), field(74, number(50_000))]));
for (let at = 0; at < 5; at += 1) {
  assert.equal(engine.envelope(sentry, `{}\n{"type":"event"}\n{"message":"error ${at}"}\n`), 0);
}
for (;;) {
  const pause = await engine.round(post);
  // Looked at before the pause: what is due next may be the end of a day's limit.
  if (received.length === 5) break;
  await wait(pause);
}
const log = '{}\n{"type":"log","item_count":1}\n{"items":[{"body":"hello"}]}\n';
assert.equal(engine.envelope(sentry, log), 3 + 1, 'the server limits logs: reason 3, ratelimit_backoff');
const gate = engine.calls.surgetank_gate(sentry, engine.now());
assert.ok((gate >> BigInt(LOG_ITEM)) & 1n, 'the gate says so before anything is encoded');
assert.throws(() => engine.envelope(sentry, 'no envelope'), /record_whole: -3/);
const { totals } = engine.status();
assert.deepEqual(totals.categories.error, { recorded: 5, delivered: 5, dropped: 0, queued: 0 });
for (let at = 0; at < 5; at += 1) assert.ok(received.some((body) => body.includes(`error ${at}`)));
console.log(`${received.length} errors arrived in ${attempts} attempts; ${JSON.stringify(totals)}`);
server.close();
server.closeAllConnections();
