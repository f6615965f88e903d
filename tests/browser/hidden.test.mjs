// A page in the background: another tab hides it, the browser slows its timers down or stops it. Real visibility: see
// `launchPlain`.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hide, scenes } from './scene.mjs';
import { eventsOf } from './servers.mjs';

const scene = scenes({ plain: true });

const start = (page, dsn) =>
  page.evaluate((dsn) => {
    window.client = S.init({ dsn });
    return window.client.page.loaded;
  }, dsn);

/** Waits in the page without its timers, which are what is slowed down. */
const until = (page, condition) => page.waitForFunction(condition, undefined, { timeout: 120_000, polling: 250 });

test(
  'a page that another tab hides sends at once, and hears the answer',
  scene(async ({ open, dsn, away }) => {
    const page = await open();
    await start(page, dsn);
    await page.evaluate(() => {
      // The moment at which the page was hidden decides, not the timer that would have come.
      client.page.tick = () => {};
      client.log('info', 'would wait for company');
    });
    await hide(page, open);
    await away.until((requests) => requests.length === 1);
    await until(page, () => client.status().categories.log_item.delivered === 1);
    assert.equal((await page.evaluate(() => client.status())).beacons, 0);
  }),
);

test(
  'with timers slowed down to one a second, what a hidden page records is delivered, also at the second attempt',
  scene(async ({ open, dsn, away }) => {
    away.answer = (_, number) => (number === 0 ? { status: 503, headers: { 'retry-after': '1' } } : {});
    const page = await open();
    await start(page, dsn);
    await hide(page, open);
    const gaps = await page.evaluate(async () => {
      const gaps = [];
      let before = performance.now();
      while (gaps.length < 6) {
        await new Promise((done) => setTimeout(done, 20));
        gaps.push(performance.now() - before);
        before = performance.now();
      }
      client.captureMessage('from the background');
      client.log('info', 'a line from the background');
      return gaps.sort((one, other) => one - other);
    });
    assert.ok(gaps[3] > 500, `the browser slows timers down; 20 ms took ${gaps.map(Math.round)} ms`);
    await until(page, () => client.status().categories.log_item?.delivered === 1 && client.status().categories.error?.delivered === 1);
    const ids = eventsOf(away.requests).map(({ event_id }) => event_id);
    assert.equal(new Set(ids).size, 1);
    assert.equal(await page.evaluate(() => document.visibilityState), 'hidden', 'it was in the background all the time');
  }),
);

test(
  'a page that the browser stops in the background goes on where it was',
  scene(async ({ open, dsn, away, context }) => {
    away.answer = (_, number) => (number === 0 ? { status: 503, headers: { 'retry-after': '1' } } : {});
    const page = await open();
    await start(page, dsn);
    await page.evaluate(() => {
      window.frozen = 0;
      document.addEventListener('freeze', () => window.frozen++);
      client.captureMessage('before it was stopped');
    });
    await away.until((requests) => requests.length === 1);
    await hide(page, open);
    const driver = await context.newCDPSession(page);
    await driver.send('Page.setWebLifecycleState', { state: 'frozen' });
    await until(page, () => window.frozen === 1);
    await driver.send('Page.setWebLifecycleState', { state: 'active' });
    await page.bringToFront();
    await away.until((requests) => requests.length === 2, 'the second attempt', 120_000);
    await until(page, () => client.status().categories.error.delivered === 1);
  }),
);
