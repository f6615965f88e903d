// A page that was in the background for long: Chromium then runs the timers of a chain once a minute. It begins after five
// minutes, and here at once; the minute cannot be made shorter.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hide, scenes } from './scene.mjs';
import { eventsOf, itemsOf } from './servers.mjs';

const scene = scenes({ plain: true, flags: ['--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1'] });

/** Waits in the page without its timers. */
const until = (page, condition) => page.waitForFunction(condition, undefined, { timeout: 300_000, polling: 500 });

test(
  'with timers slowed down to one a minute, records leave once, pauses and limits are kept, and the books are right',
  scene(async ({ open, dsn, away }) => {
    let refused = 0;
    away.answer = ({ body }) => {
      if (!body.includes('"from a chain"')) return {};
      if (refused++ === 0) return { status: 503, headers: { 'retry-after': '2' } };
      return { headers: { 'x-sentry-rate-limits': '3600:error:key' } };
    };
    const page = await open();
    await page.evaluate((dsn) => {
      window.client = S.init({ dsn });
      return client.page.loaded;
    }, dsn);
    await hide(page, open);
    await page.evaluate(() => {
      // An application's own chain of timers: what it records arms our timer from within it, so that it is as slow.
      window.gaps = [];
      let before = performance.now();
      const turn = () => {
        const gap = performance.now() - before;
        before = performance.now();
        gaps.push(gap);
        // A second is what any hidden page gets.
        if (gap < 5000) return setTimeout(turn, 20);
        client.log('info', 'a line');
        client.captureMessage('from a chain');
      };
      setTimeout(turn, 20);
    });
    await until(page, () => {
      const { log_item, error } = client.status().categories;
      return log_item?.delivered === 1 && error?.delivered === 1;
    });
    const { gaps, status, hidden } = await page.evaluate(async () => {
      client.captureMessage('under the limit');
      client.log('info', 'another line');
      await client.flush(120_000);
      return { gaps, status: client.status(), hidden: document.hidden };
    });
    console.log(`# the page's own timers came after ${gaps.map((gap) => (gap / 1000).toFixed(1)).join(', ')} s`);
    assert.equal(hidden, true, 'it was in the background all the time');
    assert.ok(Math.max(...gaps) > 5000, 'the browser slows chains of timers down');
    assert.deepEqual(eventsOf(away.requests).map(({ message }) => message), ['from a chain', 'from a chain'], 'refused once, taken once');
    const [first, second] = away.requests.filter(({ body }) => body.includes('"from a chain"'));
    assert.ok(second.at - first.at >= 1990, `sent again after ${second.at - first.at} ms`);
    const lines = away.requests.flatMap(({ body }) => itemsOf(body)).filter(({ header }) => header.type === 'log');
    assert.deepEqual(lines.flatMap(({ payload }) => payload.items.map(({ body }) => body)), ['a line', 'another line']);
    assert.deepEqual(status.categories.error, { recorded: 2, delivered: 1, dropped: 1, queued: 0 });
    const reasons = status.dropped.map(({ category, reason, quantity }) => [category, reason, quantity]);
    assert.deepEqual(reasons, [['error', 'ratelimit_backoff', 1]]);
  }),
);
