// Serves the page, and beside it, on a port of its own, a server that takes telemetry and behaves as the page tells it.
//
// usage: node serve.mjs [PORT], after `cargo xtask browser`; `cargo xtask browser --serve` does both.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const own = dirname(fileURLToPath(import.meta.url));
const packaged = join(own, '../../target/browser/node_modules/surgetank');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };
const FILES = new Map([
  ['/', join(own, 'index.html')],
  ...['page.js', 'page.css'].map((name) => ['/' + name, join(own, name)]),
  ...['index.js', 'offline.js', 'surgetank.wasm'].map((name) => ['/surgetank/' + name, join(packaged, name)]),
]);

const listen = async (handler, port) => {
  const server = createServer(handler);
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  return `http://127.0.0.1:${server.address().port}`;
};

// ---- the server that takes telemetry --------------------------------------------------------------------------------------

const ANSWERS = {
  well: { status: 200 },
  limiting: { status: 429, headers: { 'x-sentry-rate-limits': '15:error:key' } },
  overloaded: { status: 503, headers: { 'retry-after': '5' } },
};
let mode = 'well';
let taken = 0;

const ingest = await listen(async (request, response) => {
  const headers = {
    'access-control-allow-origin': '*',
    'access-control-allow-headers': 'content-type',
    'access-control-expose-headers': 'retry-after, x-sentry-rate-limits',
  };
  if (request.method === 'OPTIONS') return response.writeHead(204, headers).end();
  for await (const _ of request);
  if (mode === 'silent') return undefined;
  if (mode === 'gone') return request.socket.destroy();
  const answer = ANSWERS[mode];
  taken += answer.status === 200 ? 1 : 0;
  return response.writeHead(answer.status, { ...headers, ...answer.headers }).end('{}');
}, 0);

// ---- the page ---------------------------------------------------------------------------------------------------------------

const policy = `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src data:; connect-src 'self' ${ingest}`;
const page = await listen(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://page');
  if (pathname === '/server') {
    if (request.method === 'POST' && (ANSWERS[searchParams.get('mode')] || ['silent', 'gone'].includes(searchParams.get('mode')))) {
      mode = searchParams.get('mode');
    }
    const dsn = ingest.replace('://', '://demonstration@') + '/1';
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ mode, taken, dsn }));
  }
  const file = FILES.get(pathname);
  const body = file && (await readFile(file).catch(() => undefined));
  if (!body) return response.writeHead(404).end('not here');
  const headers = { 'content-type': TYPES[extname(file)], 'cache-control': 'no-store', 'content-security-policy': policy };
  return response.writeHead(200, headers).end(body);
}, Number(process.argv[2] || 0));

console.log(`${page}/`);
