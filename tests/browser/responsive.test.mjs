// What recording costs the page: no task of ours, while records come in or afterwards, holds up its main thread.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { scenes } from './scene.mjs';
import { eventsOf } from './servers.mjs';
import { measured, tasksOf } from './tasks.mjs';

const scenesOf = scenes();
const scene = (...parts) => measured(scenesOf(...parts));

/** What a user begins to feel (Long Tasks, W3C), in milliseconds. */
const LONG = 50;

const start = (page, options) =>
  page.evaluate(([{ offline, ...options }]) => {
    window.client = S.init({ ...options, offline: offline && S.offlineStore() });
    return client.page.loaded;
  }, [options]);

const status = (page) => page.evaluate(() => client.status());

function assertShort(tasks, name) {
  const { marked, others } = tasks;
  console.log(`# ${name}: ${JSON.stringify(marked)}, then at most ${others[0].millis.toFixed(1)} ms of processor time`);
  assert.ok(others.length > 0 && others[0].millis < LONG, `${others[0].millis} ms at once: ${others[0].what}`);
  for (const [mark, millis] of Object.entries(marked)) assert.ok(millis < LONG, `${mark} took ${millis} ms at once`);
}

/** Tasks of the page, each a loop of thousands of calls in which there is nothing but calls. */
const LOOPS = {
  errors: () => {
    performance.mark('errors');
    const error = new Error('again and again');
    for (let number = 0; number < 10_000; number++) client.captureException(error);
  },
  logs: () => {
    performance.mark('logs');
    for (let number = 0; number < 10_000; number++) client.log('info', 'a line of a flood', { number });
  },
  spans: () => {
    performance.mark('spans');
    for (let number = 0; number < 5_000; number++) client.startSpan('drop').end();
  },
};

const CALLS = { errors: 10_000, logs: 10_000, spans: 5_000 };

for (const [name, loop] of Object.entries(LOOPS)) {
  test(
    `${CALLS[name]} ${name} in a loop leave the page usable, and all are accounted for`,
    scene(async ({ open, dsn, away, browser }) => {
      const page = await open();
      await start(page, { dsn });
      const tasks = await tasksOf(browser, page, async () => {
        await page.evaluate(loop);
        assert.equal(await page.evaluate(() => client.flush(120_000)), true);
      });
      assert.ok(tasks.marked[name] > 0, 'the loop is among the tasks');
      assertShort(tasks, name);
      const { categories, dropped } = await status(page);
      const { recorded, delivered, dropped: lost } = categories[{ errors: 'error', logs: 'log_item', spans: 'span' }[name]];
      assert.equal(recorded, CALLS[name]);
      assert.equal(delivered + lost, CALLS[name]);
      assert.ok(delivered > 0, 'some were sent');
      // How many fit into the time that they may take is up to the machine; a quick one may take all spans.
      const refused = dropped.find(({ reason }) => reason === 'buffer_overflow')?.quantity ?? 0;
      if (name !== 'spans') assert.ok(refused > 1000, `${refused} are refused, for the time they would take`);
      if (name === 'errors') assert.equal(new Set(eventsOf(away.requests).map(({ event_id }) => event_id)).size, delivered);
    }),
  );
}

test(
  'an outage with a full queue and a store, and the next visit, leave the page usable',
  scene(async ({ open, dsn, away, browser }) => {
    let broken = true;
    away.answer = () => (broken ? 'reset' : {});
    const first = await open();
    await start(first, { dsn, offline: true });
    const outage = await tasksOf(browser, first, () =>
      first.evaluate(async () => {
        // Short ones, so that there are many, and as fast as they are taken.
        while (client.status().fillPermille < 850) {
          for (let number = 0; number < 50; number++) client.captureMessage('short');
          await new Promise((done) => setTimeout(done, 20));
        }
        const { last } = client.page.store;
        while (client.page.store.saving || client.page.store.last === last) await new Promise((done) => setTimeout(done, 50));
      }),
    );
    assertShort(outage, 'outage');
    const held = (await status(first)).categories.error.queued;
    assert.ok(held > 300, `${held} are held`);
    await first.close();
    broken = false;
    const second = await open();
    const visit = await tasksOf(browser, second, async () => {
      await start(second, { dsn, offline: true });
      await second.waitForFunction((held) => client.status().categories.error?.delivered === held, held, { timeout: 180_000 });
    });
    assertShort(visit, 'next visit');
  }),
);

test(
  'requests that take long to start are started in several tasks, and all at once when the page goes away',
  scene(
    async ({ open, dsn, away }) => {
      const page = await open();
      await start(page, { dsn });
      await page.evaluate(() => {
        for (let number = 0; number < 4; number++) client.captureMessage(`message ${number}`);
        return client.flush(60_000);
      });
      assert.equal(eventsOf(away.requests).length, 4);
      assert.equal(Math.max(...(await page.evaluate(() => started))), 1, 'each took its time, and the next had to wait');
      await page.evaluate(() => {
        started.length = 0;
        for (let number = 0; number < 4; number++) client.captureMessage(`last ${number}`);
        client.page.hand(false);
      });
      await away.until((requests) => eventsOf(requests).length === 8);
      const most = Math.max(...(await page.evaluate(() => started)));
      assert.ok(most > 1, 'there is no later');
    },
    {
      // A slow `fetch`; how many of its calls came without the thread being given back in between.
      init: () => {
        const plain = window.fetch;
        window.started = [];
        let fresh = true;
        window.fetch = (...all) => {
          if (String(all[0]).endsWith('.wasm')) return plain(...all);
          if (fresh) {
            started.push(0);
            queueMicrotask(() => (fresh = true));
          }
          fresh = false;
          started[started.length - 1]++;
          for (const until = performance.now() + 15; performance.now() < until; );
          return plain(...all);
        };
      },
    },
  ),
);
