// The package behind other SDKs, as their users would have it: current majors of `@sentry/browser` and OpenTelemetry.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { scenes } from './scene.mjs';
import { eventsOf, itemsOf } from './servers.mjs';
import { bundle } from './tools.mjs';

const scene = scenes();

const page = (script) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="${script}"></script>`;

const SENTRY = `
  import * as Sentry from '@sentry/browser';
  import { makeSurgetankTransport, init } from 'surgetank/inline';
  Object.assign(window, { Sentry, makeSurgetankTransport, init, ready: true });`;

const OTEL = `
  import { context, trace, SpanStatusCode } from '@opentelemetry/api';
  import { WebTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-web';
  import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
  import { SurgetankSpanExporter, SurgetankSpanProcessor, init } from 'surgetank/inline';
  Object.assign(window, { context, trace, SpanStatusCode, WebTracerProvider, BatchSpanProcessor, OTLPTraceExporter,
    SurgetankSpanExporter, SurgetankSpanProcessor, init, ready: true });`;

const sentry = { '/sentry.html': page('/sentry.js'), '/sentry.js': await bundle(SENTRY) };
const otel = { '/otel.html': page('/otel.js'), '/otel.js': await bundle(OTEL) };

/** A protobuf message as a tree: `[[field, value], ...]` in the order of fields, lengths of messages left out. */
function tree(bytes, shape) {
  const fields = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const [field, wire] = [tag >> 3, tag & 7];
    let value;
    if (wire === 0) {
      value = varint().toString();
      // A zero is the same as nothing, but for a value that is one of several kinds.
      if (value === '0' && shape !== VALUE) continue;
    } else if (wire === 2) {
      const length = Number(varint());
      value = bytes.subarray(at, (at += length));
      value = shape[field] ? tree(value, shape[field]) : Buffer.from(value).toString('latin1');
    } else {
      const width = wire === 1 ? 8 : 4;
      value = Buffer.from(bytes.subarray(at, (at += width))).toString('hex');
    }
    if (!(shape === SPAN && field === STATUS && value.length === 0)) fields.push([field, value]);
  }
  assert.equal(at, bytes.length, 'the message ends where its lengths say');
  // Sorting is stable: repeated fields stay in their order.
  return fields.sort(([one], [other]) => one - other);
}

// Which fields are messages (opentelemetry-proto, trace_service.proto, trace.proto, common.proto).
const VALUE = { 5: { 1: {} }, 6: {} };
const KEY_VALUE = { 2: VALUE };
VALUE[6][1] = KEY_VALUE;
VALUE[5][1] = VALUE;
const SPAN = { 9: KEY_VALUE, 11: { 3: KEY_VALUE }, 13: { 4: KEY_VALUE }, 15: {} };
const STATUS = 15;
const REQUEST = { 1: { 1: { 1: KEY_VALUE }, 2: { 1: {}, 2: SPAN } } };

/** The spans of requests: each with its resource's and its scope's tree. */
function spansOf(requests) {
  const all = (fields, number) => fields.filter(([field]) => field === number).map(([, value]) => value);
  return requests.flatMap(({ body }) =>
    all(tree(body, REQUEST), 1).flatMap((resource) =>
      all(resource, 2).flatMap((scope) =>
        all(scope, 2).map((span) => ({ resource: all(resource, 1), scope: all(scope, 1), span })),
      ),
    ),
  );
}

test(
  '@sentry/browser delivers through the transport: errors, spans, logs, sessions',
  scene(
    async ({ open, dsn, away }) => {
      const page = await open('/sentry.html');
      const flushed = await page.evaluate(async (dsn) => {
        Sentry.init({ dsn, transport: makeSurgetankTransport, tracesSampleRate: 1, enableLogs: true, release: 'shop@1' });
        Sentry.captureException(new Error('through the SDK'));
        Sentry.startSpan({ name: 'checkout' }, () => {});
        Sentry.logger.info('a line');
        return Sentry.flush(60_000);
      }, dsn);
      assert.equal(flushed, true);
      assert.equal(away.preflights, 0);
      const items = away.requests.flatMap(({ body }) => itemsOf(body));
      const types = new Set(items.map(({ header }) => header.type));
      for (const type of ['event', 'session', 'span', 'log']) assert.ok(types.has(type), `${type} in ${[...types]}`);
      assert.equal(eventsOf(away.requests)[0].exception.values[0].value, 'through the SDK');
      assert.ok(away.requests.every(({ path }) => path.includes('sentry_client=sentry.javascript.browser')));
      const status = await page.evaluate(() => init({ dsn: 'http://k@127.0.0.1:1/1', globalHandlers: false }).status());
      assert.equal(status.categories.error.delivered, 1);
      assert.equal(status.categories.span.delivered, 1);
      assert.equal(status.categories.log_item.delivered, 1);
    },
    { texts: sentry },
  ),
);

test(
  'what @sentry/browser records under a limit is dropped and counted, and the server told',
  scene(
    async ({ open, dsn, away }) => {
      away.answer = (_, number) => (number === 0 ? { status: 429, headers: { 'x-sentry-rate-limits': '600:error:key' } } : {});
      const page = await open('/sentry.html');
      await page.evaluate(async (dsn) => {
        Sentry.init({ dsn, transport: makeSurgetankTransport, defaultIntegrations: false });
        window.watch = init({ dsn, globalHandlers: false });
        Sentry.captureMessage('first');
        await Sentry.flush(60_000);
        Sentry.captureMessage('second');
        await Sentry.flush(60_000);
      }, dsn);
      assert.deepEqual(eventsOf(away.requests).map(({ message }) => message), ['first']);
      const { dropped } = await page.evaluate(() => watch.status());
      assert.deepEqual(dropped.map(({ reason, quantity }) => [reason, quantity]), [['server_rate_limited', 1], ['ratelimit_backoff', 1]]);
      await away.until((requests) => requests.some(({ body }) => body.includes('ratelimit_backoff')), 'a client report', 120_000);
    },
    { texts: sentry },
  ),
);

test(
  'logs and spans that a limit stops are counted one by one, though the SDK gives them by the batch',
  scene(
    async ({ open, dsn, away }) => {
      away.answer = (_, number) => (number === 0 ? { status: 429, headers: { 'x-sentry-rate-limits': '600:error;span;log_item:key' } } : {});
      const page = await open('/sentry.html');
      const dropped = await page.evaluate(async (dsn) => {
        Sentry.init({ dsn, transport: makeSurgetankTransport, defaultIntegrations: false, tracesSampleRate: 1, enableLogs: true });
        window.watch = init({ dsn, globalHandlers: false });
        Sentry.captureMessage('learns the limit');
        await Sentry.flush(60_000);
        for (let number = 0; number < 7; number++) Sentry.logger.info(`line ${number}`);
        Sentry.startSpan({ name: 'root' }, () => {
          for (let number = 0; number < 4; number++) Sentry.startSpan({ name: 'child' }, () => {});
        });
        await Sentry.flush(60_000);
        return watch.status().dropped;
      }, dsn);
      const of = (wanted) => dropped.find(({ category, reason }) => category === wanted && reason === 'ratelimit_backoff')?.quantity;
      assert.equal(of('log_item'), 7);
      assert.equal(of('span'), 5);
    },
    { texts: sentry },
  ),
);

test(
  'OpenTelemetry spans are what its own exporter would have sent, by processor and by exporter',
  scene(
    async ({ open, otlp, away }) => {
      const page = await open('/otel.html');
      await page.evaluate(async (endpoint) => {
        const provider = new WebTracerProvider({
          spanProcessors: [
            new SurgetankSpanProcessor({ url: endpoint + '/v1/traces?processor' }),
            new BatchSpanProcessor(new SurgetankSpanExporter({ url: endpoint + '/v1/traces?exporter' })),
            new BatchSpanProcessor(new OTLPTraceExporter({ url: endpoint + '/v1/traces?own' })),
          ],
        });
        const tracer = provider.getTracer('shop', '1.2');
        const root = tracer.startSpan('checkout', { kind: 2, attributes: { text: 'ü', whole: -3, half: 0.5, yes: false, list: [1, 2] } });
        const inner = trace.setSpan(context.active(), root);
        const child = tracer.startSpan('pay', { links: [{ context: root.spanContext(), attributes: { why: 'link' } }] }, inner);
        child.addEvent('declined', { code: 51 });
        child.setStatus({ code: SpanStatusCode.ERROR, message: 'no money' });
        child.end();
        root.end();
        provider.getTracer('other').startSpan('alone').end();
        await provider.forceFlush();
        await provider.shutdown();
      }, otlp);
      const sent = (path) => spansOf(away.requests.filter((request) => request.path === '/v1/traces?' + path));
      const own = sent('own');
      assert.equal(own.length, 3);
      const ordered = (spans) => spans.map((span) => JSON.stringify(span)).sort();
      assert.deepEqual(ordered(sent('processor')), ordered(own));
      assert.deepEqual(ordered(sent('exporter')), ordered(own));
      assert.ok(away.preflights > 0, 'the content type is one that a browser asks for');
    },
    { texts: otel },
  ),
);

test(
  'a collector that throttles is obeyed, and its partial success believed',
  scene(
    async ({ open, otlp, away }) => {
      away.answer = (_, number) =>
        [
          { status: 503, headers: { 'retry-after': '1' } },
          // partial_success { rejected_spans: 1 }
          { headers: { 'content-type': 'application/x-protobuf' }, body: Buffer.from([0x0a, 0x02, 0x08, 0x01]) },
        ][number] || {};
      const page = await open('/otel.html');
      await page.evaluate((endpoint) => {
        const provider = new WebTracerProvider({ spanProcessors: [new SurgetankSpanProcessor({ endpoint })] });
        window.watch = init({ otlpEndpoint: endpoint, globalHandlers: false });
        for (let number = 0; number < 3; number++) provider.getTracer('t').startSpan('s').end();
        return watch.flush(60_000);
      }, otlp);
      assert.equal(away.requests.length, 2);
      assert.ok(away.requests[1].at - away.requests[0].at >= 990);
      const { categories, dropped } = await page.evaluate(() => watch.status());
      assert.deepEqual(dropped, [{ category: 'span', reason: 'rejected', quantity: 1 }]);
      assert.deepEqual(categories.span, { recorded: 3, delivered: 2, dropped: 1, queued: 0 });
    },
    { texts: otel },
  ),
);

test(
  'the package alone speaks OTLP: spans, logs and errors',
  scene(
    async ({ open, otlp, away }) => {
      const page = await open('/otel.html');
      await page.evaluate(async (otlpEndpoint) => {
        const client = init({ otlpEndpoint, serviceName: 'shop', release: '1.0' });
        client.startSpan('checkout').end();
        await client.flush(60_000);
        client.log('warn', 'a line', { part: 'cart' });
        client.captureException(new TypeError('broken'));
        return client.flush(60_000);
      }, otlp);
      const [traces, logs] = ['/v1/traces', '/v1/logs'].map((path) => away.requests.filter((request) => request.path === path));
      assert.equal(spansOf(traces).length, 1);
      assert.ok(traces[0].body.includes('service.name') && traces[0].body.includes('shop'));
      assert.ok(logs.some(({ body }) => body.includes('a line')));
      assert.ok(logs.some(({ body }) => body.includes('exception.stacktrace') && body.includes('TypeError')));
    },
    { texts: otel },
  ),
);
