// The life of a page: it is closed, left, comes back; its policy forbids WebAssembly; it is a worker.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { PAGE, scenes } from './scene.mjs';
import { eventsOf } from './servers.mjs';
import { packaged } from './tools.mjs';

// The driver switches the back/forward cache off for everybody; here it is what is tested.
const scene = scenes({ ignoreDefaultArgs: ['--disable-back-forward-cache'] });

const start = (page, options) =>
  page.evaluate((options) => {
    window.client = S.init(options);
    return window.client.page.loaded;
  }, options);

const messagesOf = (away) => eventsOf(away.requests).map(({ message }) => message);

test(
  'what was recorded last arrives when the page is closed',
  scene(async ({ open, dsn, away }) => {
    const page = await open();
    await start(page, { dsn });
    await page.evaluate(() => {
      addEventListener('pagehide', () => client.captureMessage('in pagehide'), { once: true });
      client.log('info', 'would wait for company');
    });
    await page.close({ runBeforeUnload: false });
    await away.until((requests) => requests.some(({ body }) => body.includes('would wait for company')));
  }),
);

test(
  'what was recorded last arrives when the page is left',
  scene(async ({ open, dsn, away, home }) => {
    const page = await open();
    await start(page, { dsn });
    await page.evaluate((url) => {
      client.log('info', 'would wait for company');
      client.captureMessage('while leaving');
      location.href = url;
    }, home.origin + '/other.html');
    await away.until((requests) => requests.some(({ body }) => body.includes('would wait for company')));
    await away.until(() => messagesOf(away).includes('while leaving'));
    assert.equal(messagesOf(away).length, 1, 'once');
  }),
);

test(
  'a page that goes away says what the browser took, and goes on when it comes back',
  scene(async ({ open, dsn, away, home }) => {
    const page = await open();
    await start(page, { dsn });
    await page.evaluate(() => {
      window.restored = new Promise((done) => addEventListener('pageshow', (event) => done(event.persisted)));
      client.log('info', 'before');
    });
    await page.goto(home.origin + '/other.html');
    await away.until((requests) => requests.some(({ body }) => body.includes('before')));
    await page.goBack({ waitUntil: 'commit' });
    const persisted = await page.evaluate(() => (window.client ? window.restored : false));
    assert.equal(persisted, true, 'the back/forward cache kept the page');
    const books = await page.evaluate(async () => {
      client.log('info', 'after');
      await client.flush(60_000);
      return client.status();
    });
    assert.equal(books.beacons, 1);
    assert.equal(books.categories.log_item.delivered, 2);
    assert.equal(away.requests.filter(({ body }) => body.includes('before')).length, 1);
  }),
);

for (const entry of ['index.js', 'inline.js']) {
  test(
    `a strict policy with wasm-unsafe-eval is enough for ${entry}`,
    scene(
      async ({ open, dsn, away, complaints }) => {
        const page = await open('/strict.html');
        await page.waitForFunction(() => window.client.status().state === 'running', undefined, { timeout: 60_000 });
        await page.evaluate((dsn) => {
          S.init({ dsn, globalHandlers: false }).captureMessage('under a policy');
        }, dsn);
        await away.until(() => messagesOf(away).includes('under a policy'));
        assert.deepEqual(complaints, []);
        assert.deepEqual(await page.evaluate(() => window.violations), []);
      },
      {
        headers: {
          'content-security-policy':
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' http://127.0.0.1:*; img-src data:",
        },
        init: () => {
          window.violations = [];
          document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => violations.push(violatedDirective));
        },
        texts: {
          '/strict.html': '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/start.js"></script>',
          '/start.js': `import * as S from '/surgetank/${entry}'; window.S = S; window.client = S.init({ dsn: 'http://key@127.0.0.1:1/1' }); window.ready = true;`,
        },
      },
    ),
  );
}

for (const [name, more] of [
  [
    'a policy that forbids WebAssembly',
    { headers: { 'content-security-policy': "script-src 'self' 'unsafe-inline'; connect-src *" } },
  ],
  ['a browser without WebAssembly', { init: () => delete window.WebAssembly }],
  ['a module that is not there', { texts: { '/index.html': PAGE.replace('...own,', "...own, init: (o) => own.init({ ...o, wasm: '/not-here.wasm' }),") } }],
]) {
  test(
    `${name} harms nothing`,
    scene(async ({ open, dsn, away, complaints }) => {
      const page = await open();
      await start(page, { dsn });
      const said = await page.evaluate(async () => {
        client.captureException(new Error('nobody hears'));
        client.log('info', 'nobody hears');
        const span = client.startSpan('nothing');
        span.startSpan('nothing').end();
        span.end();
        // Nor do those who use it behind other SDKs notice.
        const transport = S.makeSurgetankTransport({ url: 'http://127.0.0.1:1/' });
        await transport.send([{}, [[{ type: 'event' }, {}]]]);
        const exporter = new S.SurgetankSpanExporter();
        const code = await new Promise((done) => exporter.export([], (result) => done(result.code)));
        const processor = new S.SurgetankSpanProcessor();
        processor.onStart();
        await Promise.all([transport.flush(100), exporter.shutdown(), processor.shutdown()]);
        if (code !== 0) throw new Error('the exporter refuses');
        return [client.status().state, client.status().why, await client.flush(100), await client.close(100)];
      });
      assert.equal(said[0], 'off');
      assert.ok(said[1], 'it says why');
      assert.deepEqual(said.slice(2), [true, true]);
      assert.equal(away.requests.length, 0);
      assert.deepEqual(complaints, []);
    }, more),
  );
}

test('on a server that renders pages every call is without effect, and nothing is said', () => {
  const script = `import { init } from ${JSON.stringify(pathToFileURL(join(packaged, 'index.js')))};
    const client = init({ dsn: 'http://key@127.0.0.1:1/1' });
    client.captureMessage('nobody hears');
    client.startSpan('nothing').end();
    const flushed = await client.flush(100);
    console.log(client.status().state, flushed, await client.close(100));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(stderr, '');
  assert.equal(stdout.trim(), 'off true true');
});

test(
  'wrong settings are said once and harm nothing',
  scene(async ({ open, complaints }) => {
    const page = await open();
    const said = [];
    page.on('console', (message) => said.push(message.text()));
    const state = await page.evaluate(async () => {
      const client = S.init({ dsn: 'no dsn' });
      client.captureMessage('nobody hears');
      client.startSpan('nothing').end();
      await client.flush();
      return client.status().state;
    });
    assert.equal(state, 'off');
    assert.equal(said.length, 1);
    assert.match(said[0], /not a DSN/);
    assert.deepEqual(complaints, []);
  }),
);

test(
  'what is recorded while the module loads is kept',
  scene(async ({ open, dsn, away }) => {
    const page = await open();
    await page.evaluate((dsn) => {
      window.client = S.init({ dsn });
      client.captureMessage('early');
    }, dsn);
    await away.until(() => messagesOf(away).includes('early'));
  }),
);

test(
  'a worker and a service worker send as a page does',
  scene(
    async ({ open, dsn, away }) => {
      const page = await open();
      await page.evaluate((dsn) => {
        new Worker('/worker.js#' + encodeURIComponent(dsn), { type: 'module' });
      }, dsn);
      await away.until(() => messagesOf(away).includes('from a worker'));
      await page.evaluate(async (dsn) => {
        const registration = await navigator.serviceWorker.register('/service.js', { type: 'module' });
        const worker = registration.installing || registration.waiting || registration.active;
        worker.postMessage(dsn);
      }, dsn);
      await away.until(() => messagesOf(away).includes('from a service worker'));
    },
    {
      texts: {
        '/worker.js':
          "import { init } from '/surgetank/index.js'; init({ dsn: decodeURIComponent(location.hash.slice(1)) }).captureMessage('from a worker');",
        '/service.js':
          "import { init } from '/surgetank/index.js'; onmessage = (event) => { const client = init({ dsn: event.data }); client.captureMessage('from a service worker'); event.waitUntil(client.flush(30000)); };",
      },
    },
  ),
);
