// The two servers of a test: one that serves the page, one (of another origin, so that the browser asks first) that
// records what the page sends and answers as it is told.

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { createInterface } from 'node:readline';

import { root } from './tools.mjs';

const recorder = join(root, 'target/debug/recorder');
/** A key as Sentry issues them. */
const KEY = '0123456789abcdef0123456789abcdef';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };

async function listen(handler) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Serves texts by path, and folders by the prefix of a path; `headers` go with every answer. */
export async function pages({ texts = {}, folders = {}, headers = {} }) {
  const server = await listen(async (request, response) => {
    const path = new URL(request.url, 'http://page').pathname;
    let type = TYPES[extname(path)] || 'text/html';
    let body = texts[path];
    for (const prefix of Object.keys(folders)) {
      if (body === undefined && path.startsWith(prefix)) {
        body = await readFile(join(folders[prefix], normalize(path.slice(prefix.length)))).catch(() => undefined);
      }
    }
    const found = body !== undefined;
    response.writeHead(found ? 200 : 404, { 'content-type': type, ...(found && path.endsWith('.html') ? headers : {}) });
    response.end(found ? body : 'not here');
  });
  return { ...server, texts };
}

/**
 * The recording server of this repository's other tests (`tests/src/upstream`), as a program of its own. `answer(request,
 * number)` says what is answered: `{status, headers, body, delay}`, `'hang'` or `'reset'`; what the real server answers by
 * default. Preflights are always answered as the real server does, and counted.
 */
export async function sink() {
  const state = { requests: [], preflights: 0, answer: () => ({}), waiters: [] };
  const child = spawn(recorder, { stdio: ['pipe', 'pipe', 'inherit'] });
  // It may be gone when a late answer is written.
  child.stdin.on('error', () => {});
  const ended = new Promise((resolve) => child.once('close', resolve));
  const lines = createInterface({ input: child.stdout });
  const say = (number, reply) => child.stdin.write(JSON.stringify({ number, reply }) + '\n');
  const reply = ({ status = 200, headers, body }) =>
    status === 200 && !headers && !body ? 'accept' : { status, headers: headers || {}, body: Buffer.from(body || '').toString('hex') };

  async function take({ number, at_us, method, path, headers, body }) {
    if (method === 'OPTIONS') {
      state.preflights++;
      return say(number, 'accept');
    }
    const recorded = { path, headers, body: Buffer.from(body, 'hex'), at: at_us / 1000 };
    const told = state.answer(recorded, state.requests.length);
    state.requests.push(recorded);
    for (const waiter of state.waiters.slice()) waiter();
    if (told === 'hang') return say(number, 'stall');
    if (told === 'reset') return say(number, 'close');
    if (told.delay) await new Promise((resolve) => setTimeout(resolve, told.delay));
    return say(number, reply(told));
  }

  const origin = await new Promise((resolve, reject) => {
    child.once('error', () => reject(new Error(`${recorder} is missing: run \`cargo build --package surgetank-tests --bin recorder\``)));
    ended.then((code) => reject(new Error(`the recording server ended with ${code}`)));
    lines.on('line', (line) => {
      const said = JSON.parse(line);
      if (said.url) resolve(said.url);
      else take(said);
    });
  });
  const close = () => {
    child.stdin.end();
    return ended;
  };
  /** Waits until `enough(requests)`; generous, for the machine may be busy. */
  const until = (enough, what = 'the requests that were expected', deadline = 60_000) =>
    new Promise((resolve, reject) => {
      const check = () => {
        if (!enough(state.requests)) return;
        clearTimeout(timer);
        state.waiters = state.waiters.filter((waiter) => waiter !== check);
        resolve(state.requests);
      };
      const timer = setTimeout(() => {
        state.waiters = state.waiters.filter((waiter) => waiter !== check);
        reject(new Error(`${what} did not come; ${state.requests.length} requests did`));
      }, deadline);
      state.waiters.push(check);
      check();
    });
  const dsn = origin.replace('://', `://${KEY}@`) + '/42';
  return Object.assign(state, { origin, dsn, close, until });
}

/** The items of a Sentry envelope: `[{header, payload}]`. */
export function itemsOf(body) {
  const items = [];
  let at = body.indexOf(10) + 1;
  while (at < body.length) {
    const end = body.indexOf(10, at);
    const header = JSON.parse(body.subarray(at, end));
    const stop = header.length === undefined ? body.indexOf(10, end + 1) : end + 1 + header.length;
    const payload = body.subarray(end + 1, stop < 0 ? body.length : stop);
    items.push({ header, payload: payload.length ? JSON.parse(payload) : undefined });
    at = (stop < 0 ? body.length : stop) + 1;
  }
  return items;
}

/** Every event in these requests, in order of arrival. */
export const eventsOf = (requests) =>
  requests.flatMap(({ body }) => itemsOf(body)).filter(({ header }) => header.type === 'event').map(({ payload }) => payload);
