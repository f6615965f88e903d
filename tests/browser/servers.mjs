// The two servers of a test: one that serves the page, one (of another origin, so that the browser asks first) that
// records what the page sends and answers as it is told.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';

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
 * Records every request. `answer(request, number)` says what is answered: `{status, headers, body, delay}`, `'hang'` or
 * `'reset'`; 200 by default. Preflights are answered as a real server does, and counted.
 */
export async function sink() {
  const state = { requests: [], preflights: 0, answer: () => ({}), waiters: [] };
  const server = await listen(async (request, response) => {
    const allow = {
      'access-control-allow-origin': request.headers.origin || '*',
      'access-control-allow-methods': 'POST',
      'access-control-allow-headers': 'content-type, x-test',
      'access-control-expose-headers': 'retry-after, x-sentry-rate-limits',
    };
    if (request.method === 'OPTIONS') {
      state.preflights++;
      response.writeHead(204, allow).end();
      return;
    }
    const pieces = [];
    try {
      for await (const piece of request) pieces.push(piece);
    } catch {
      return;
    }
    const recorded = {
      path: request.url,
      headers: request.headers,
      body: Buffer.concat(pieces),
      at: performance.now(),
    };
    const told = state.answer(recorded, state.requests.length);
    state.requests.push(recorded);
    for (const waiter of state.waiters.slice()) waiter();
    if (told === 'hang') return;
    if (told === 'reset') {
      request.socket.destroy();
      return;
    }
    const { status = 200, headers = {}, body = '', delay = 0 } = told;
    if (delay) await new Promise((resolve) => setTimeout(resolve, delay));
    response.writeHead(status, { ...allow, ...headers }).end(body);
  });
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
  return Object.assign(state, server, { until });
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
