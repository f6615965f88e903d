// What is recorded arrives, whole and once, and what the server says is obeyed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { scenes } from './scene.mjs';
import { eventsOf, itemsOf } from './servers.mjs';

const scene = scenes();

/** Starts a client in the page and keeps it in `window.client`. */
const start = (page, options) =>
  page.evaluate((options) => {
    window.client = S.init(options);
    return window.client.page.loaded;
  }, options);

const status = (page) => page.evaluate(() => client.status());

/** recorded = delivered + dropped + queued, in every category. */
function assertBooks({ categories, dropped }) {
  for (const [name, sums] of Object.entries(categories)) {
    assert.equal(sums.recorded, sums.delivered + sums.dropped + sums.queued, name);
    const reasons = dropped.filter(({ category }) => category === name).reduce((sum, { quantity }) => sum + quantity, 0);
    assert.equal(sums.dropped, reasons, `${name}: every loss has a reason`);
  }
}

test(
  'errors, messages, spans and logs arrive at Sentry without a preflight',
  scene(async ({ open, dsn, away }) => {
    const page = await open();
    await start(page, { dsn, release: 'shop@1.0', environment: 'test' });
    const flushed = await page.evaluate(() => {
      client.captureException(new Error('outer', { cause: new TypeError('inner') }), { tags: { part: 'cart' } });
      client.captureMessage('hello', 'warning');
      client.log('info', 'a line with ü', { answer: 42, 'a.half': 0.5, yes: true });
      const root = client.startSpan('checkout', { attributes: { items: 3 } });
      root.startSpan('pay').setStatus('error').end();
      root.end();
      return client.flush(60_000);
    });
    assert.equal(flushed, true);
    assert.equal(away.preflights, 0);
    const items = away.requests.flatMap(({ body }) => itemsOf(body));
    const events = eventsOf(away.requests);
    assert.deepEqual(events.map(({ level }) => level).sort(), ['error', 'warning']);
    const error = events.find(({ exception }) => exception);
    assert.deepEqual(error.exception.values.map(({ type, value }) => [type, value]), [['TypeError', 'inner'], ['Error', 'outer']]);
    assert.ok(error.exception.values[1].stacktrace.frames.length > 0);
    assert.equal(error.release, 'shop@1.0');
    assert.deepEqual(error.tags, { part: 'cart' });
    const spans = items.find(({ header }) => header.type === 'span').payload.items;
    assert.deepEqual(spans.map(({ name, status, is_segment }) => [name, status, is_segment]), [['pay', 'error', false], ['checkout', 'ok', true]]);
    assert.equal(spans[0].parent_span_id, spans[1].span_id);
    const log = items.find(({ header }) => header.type === 'log').payload.items[0];
    assert.equal(log.body, 'a line with ü');
    assert.deepEqual(log.attributes.answer, { value: 42, type: 'integer' });
    assert.deepEqual(log.attributes['a.half'], { value: 0.5, type: 'double' });
    const books = await status(page);
    assertBooks(books);
    assert.equal(books.categories.error.delivered, 2);
    assert.equal(books.categories.span.delivered, 2);
    assert.equal(books.categories.log_item.delivered, 1);
  }),
);

test(
  'what nobody catches is recorded',
  scene(async ({ open, dsn, away }) => {
    const page = await open();
    await start(page, { dsn });
    await page.evaluate(() => {
      setTimeout(() => {
        throw new RangeError('thrown by a timer');
      });
      Promise.reject(new Error('nobody waits'));
    });
    await away.until((requests) => eventsOf(requests).length === 2);
    const values = eventsOf(away.requests).map(({ level, exception }) => [level, exception.values[0]]);
    assert.deepEqual(values.map(([level, { value }]) => [level, value]).sort(), [['fatal', 'nobody waits'], ['fatal', 'thrown by a timer']]);
    assert.ok(values.every(([, { mechanism }]) => mechanism.handled === false));
  }),
);

test(
  'a 429 stops what it names, and nothing else, until it ends',
  scene(async ({ open, dsn, away }) => {
    // Long against any stall of a busy machine, for what is recorded under the limit must be.
    away.answer = (_, number) => (number === 0 ? { status: 429, headers: { 'x-sentry-rate-limits': '10:error:key' } } : {});
    const page = await open();
    await start(page, { dsn });
    await page.evaluate(() => client.captureMessage('first'));
    await page.waitForFunction(() => client.status().dropped.length === 1, undefined, { timeout: 60_000 });
    await page.evaluate(() => {
      client.captureMessage('held back');
      client.log('info', 'not limited');
      return client.flush(60_000);
    });
    assert.deepEqual(eventsOf(away.requests).map(({ message }) => message), ['first']);
    assert.ok(away.requests.some(({ body }) => body.includes('not limited')));
    await page.waitForFunction(() => !client.status().destinations[0].limited.length, undefined, { timeout: 60_000 });
    await page.evaluate(() => {
      client.captureMessage('after');
      return client.flush(60_000);
    });
    assert.ok(eventsOf(away.requests).some(({ message }) => message === 'after'));
    const books = await status(page);
    assertBooks(books);
    const reasons = Object.fromEntries(books.dropped.map(({ reason, quantity }) => [reason, quantity]));
    assert.equal(reasons.server_rate_limited, 1);
    assert.equal(reasons.ratelimit_backoff, 1);
    assert.ok(!eventsOf(away.requests).some(({ message }) => message === 'held back'));
  }),
);

test(
  'what an overloaded server did not take is sent again, not before the time it said',
  scene(async ({ open, dsn, away }) => {
    away.answer = (_, number) => (number === 0 ? { status: 503, headers: { 'retry-after': '2' } } : {});
    const page = await open();
    await start(page, { dsn });
    await page.evaluate(() => client.captureMessage('again'));
    await away.until((requests) => requests.length === 2);
    assert.deepEqual(eventsOf(away.requests).map(({ message }) => message), ['again', 'again']);
    assert.equal(eventsOf(away.requests)[0].event_id, eventsOf(away.requests)[1].event_id);
    const pause = away.requests[1].at - away.requests[0].at;
    assert.ok(pause >= 1990, `sent again after ${pause} ms`);
    await page.evaluate(() => client.flush(60_000));
    const books = await status(page);
    assert.equal(books.categories.error.delivered, 1);
  }),
);

test(
  'what is recorded without a network arrives once there is one',
  scene(async ({ open, dsn, away, context }) => {
    const page = await open();
    await start(page, { dsn });
    await context.setOffline(true);
    await page.evaluate(() => {
      for (let number = 0; number < 5; number++) client.captureMessage(`offline ${number}`);
    });
    await page.waitForFunction(() => client.status().destinations[0].retrying > 0, undefined, { timeout: 60_000 });
    assert.equal(away.requests.length, 0);
    await context.setOffline(false);
    await away.until((requests) => eventsOf(requests).length === 5, 'what was recorded offline', 120_000);
    assert.deepEqual(new Set(eventsOf(away.requests).map(({ message }) => message)).size, 5);
    await page.waitForFunction(() => client.status().categories.error.delivered === 5, undefined, { timeout: 60_000 });
    assertBooks(await status(page));
  }),
);

test(
  'requests beyond what the browser allows a page wait, and none fails',
  scene(async ({ open, dsn, away }) => {
    away.answer = () => 'hang';
    const page = await open();
    await start(page, { dsn });
    await page.evaluate(() => {
      for (let number = 0; number < 5; number++) {
        client.captureMessage(`large ${number}`, 'info', { extra: { filling: 'x'.repeat(30_000) } });
      }
    });
    await away.until((requests) => requests.length === 2);
    const busy = await status(page);
    assert.ok(busy.keepalive.bytes > 60_000 && busy.keepalive.bytes <= 65_536, `${busy.keepalive.bytes} bytes in flight`);
    assert.ok(busy.waiting >= 1, 'others wait');
    assert.equal(busy.destinations[0].retrying, 0, 'none failed');
  }),
);

test(
  'all of them arrive once, as others end',
  scene(async ({ open, dsn, away }) => {
    away.answer = () => ({ delay: 50 });
    const page = await open();
    await start(page, { dsn });
    await page.evaluate(() => {
      for (let number = 0; number < 6; number++) {
        client.captureMessage(`large ${number}`, 'info', { extra: { filling: 'x'.repeat(30_000) } });
      }
      return client.flush(60_000);
    });
    assert.equal(eventsOf(away.requests).length, 6);
    assert.equal((await status(page)).categories.error.delivered, 6);
  }),
);

test(
  'a request too large for keepalive goes without',
  scene(async ({ open, dsn, away }) => {
    const page = await open();
    await start(page, { dsn });
    await page.evaluate(() => {
      client.captureMessage('huge', 'info', { extra: { filling: 'x'.repeat(150_000) } });
      client.captureMessage('more than huge', 'info', { extra: { filling: 'x'.repeat(1_500_000) } });
      return client.flush(60_000);
    });
    assert.deepEqual(eventsOf(away.requests).map(({ message }) => message), ['huge']);
    const { dropped } = await status(page);
    assert.deepEqual(dropped, [{ category: 'error', reason: 'too_large', quantity: 1 }]);
  }),
);

test(
  'nothing runs while there is nothing to do',
  scene(
    async ({ open, dsn }) => {
      const page = await open();
      await start(page, { dsn });
      await page.evaluate(() => {
        client.captureMessage('once');
        return client.flush(60_000);
      });
      await page.waitForFunction(() => client.page.timer === 0, undefined, { timeout: 60_000 });
      const before = await page.evaluate(() => window.timers);
      assert.ok(before > 0, 'timers are counted');
      await page.evaluate(() => new Promise((done) => window.plainTimeout(done, 1500)));
      assert.equal(await page.evaluate(() => window.timers), before);
    },
    {
      init: () => {
        window.plainTimeout = window.setTimeout;
        window.timers = 0;
        window.setTimeout = (...all) => {
          window.timers++;
          return window.plainTimeout(...all);
        };
      },
    },
  ),
);

test(
  'close ends in its time at a server that never answers, and says that something was left',
  scene(async ({ open, dsn, away }) => {
    away.answer = () => 'hang';
    const page = await open();
    await start(page, { dsn });
    const [settled, took, books] = await page.evaluate(async () => {
      client.captureMessage('stuck');
      const began = performance.now();
      const settled = await client.close(500);
      return [settled, performance.now() - began, client.status()];
    });
    assert.equal(settled, false);
    assert.ok(took >= 490, `${took} ms`);
    assert.equal(books.state, 'closed');
    assert.equal(books.categories.error.dropped, 1);
  }),
);

test(
  'flush tells the truth in its time',
  scene(async ({ open, dsn, away }) => {
    away.answer = (_, number) => (number === 0 ? 'hang' : {});
    const page = await open();
    await start(page, { dsn });
    const flushed = await page.evaluate(() => {
      client.captureMessage('stuck');
      return client.flush(300);
    });
    assert.equal(flushed, false);
  }),
);
