// What an outage holds back comes back on the next visit: once, from however many tabs, and never at the page's cost.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { scenes } from './scene.mjs';
import { eventsOf } from './servers.mjs';

const scene = scenes();

const start = (page, dsn, store = {}) =>
  page.evaluate(
    ([dsn, store]) => {
      window.client = S.init({ dsn, offline: S.offlineStore(store) });
      return client.page.loaded;
    },
    [dsn, store],
  );

/** The rows of the store: what each tab keeps. */
const rowsOf = (page) =>
  page.evaluate(async () => {
    const done = (request) =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const database = await done(indexedDB.open('surgetank', 1));
    const rows = await done(database.transaction('tabs').objectStore('tabs').getAll());
    database.close();
    return rows.map(({ list, at }) => ({ records: list.length, at }));
  });

/** Waits until the store keeps so many records. */
async function kept(page, records) {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const sum = (await rowsOf(page)).reduce((sum, row) => sum + row.records, 0);
    if (sum === records) return;
    assert.ok(performance.now() < deadline, `the store keeps ${sum} records, not ${records}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const record = (page, ...messages) => page.evaluate((messages) => messages.forEach((text) => client.captureMessage(text)), messages);

const messagesOf = (away) => eventsOf(away.requests).map(({ message }) => message).sort();

test(
  'what was recorded offline arrives on the next visit, once, and the store is empty then',
  scene(async ({ open, dsn, away, context }) => {
    const first = await open();
    await start(first, dsn);
    await context.setOffline(true);
    await record(first, 'one', 'two', 'three');
    await first.evaluate(() => client.log('info', 'a line'));
    await kept(first, 4);
    await first.close();
    assert.equal(away.requests.length, 0);
    await context.setOffline(false);
    const second = await open();
    await start(second, dsn);
    await away.until(() => messagesOf(away).length === 3, 'what was kept', 120_000);
    await away.until((requests) => requests.some(({ body }) => body.includes('a line')), 'the log', 120_000);
    await kept(second, 0);
    assert.deepEqual(messagesOf(away), ['one', 'three', 'two']);
  }),
);

test(
  'tabs neither take what another still has nor lose what a crashed one had',
  scene(async ({ open, dsn, away }) => {
    let broken = true;
    away.answer = () => (broken ? 'reset' : {});
    const first = await open();
    const second = await open();
    await start(first, dsn);
    await start(second, dsn);
    await record(first, 'first 1', 'first 2');
    await record(second, 'second 1', 'second 2');
    await kept(second, 4);
    const third = await open();
    await start(third, dsn);
    await record(third, 'third 1');
    await kept(third, 5);
    assert.equal((await rowsOf(third)).length, 3, 'each tab that lives has its own');
    // As a browser that is killed: no event, no farewell.
    const crashed = first.waitForEvent('crash');
    first.goto('chrome://crash').catch(() => {});
    await crashed;
    away.requests.length = 0;
    broken = false;
    const fourth = await open();
    await start(fourth, dsn);
    await away.until(() => new Set(messagesOf(away)).size === 5, 'what all tabs had', 180_000);
    await kept(fourth, 0);
    assert.deepEqual(messagesOf(away), ['first 1', 'first 2', 'second 1', 'second 2', 'third 1'], 'each once');
  }),
);

for (const [name, init] of [
  ['blocked', () => Object.defineProperty(window, 'indexedDB', { get: () => { throw new DOMException('no', 'SecurityError'); } })],
  ['missing', () => Object.defineProperty(window, 'indexedDB', { value: undefined })],
  ['full', () => { IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); }; }],
  ['without locks', () => Object.defineProperty(navigator, 'locks', { value: undefined })],
  ['silent', () => { IDBFactory.prototype.open = () => ({}); }],
]) {
  test(
    `with a storage that is ${name} it goes on in memory`,
    scene(
      async ({ open, dsn, away, complaints }) => {
        away.answer = (_, number) => (number === 0 ? 'reset' : {});
        const page = await open();
        await start(page, dsn);
        await record(page, 'kept in memory');
        await away.until(() => messagesOf(away).length === 2, 'another attempt', 120_000);
        await page.waitForFunction(() => client.status().categories.error.delivered === 1, undefined, { timeout: 60_000 });
        assert.deepEqual(complaints, []);
      },
      { init },
    ),
  );
}

test(
  'what is too old is dropped and counted',
  scene(async ({ open, dsn, away, context }) => {
    const first = await open();
    await start(first, dsn);
    await context.setOffline(true);
    await record(first, 'old');
    await kept(first, 1);
    await first.close();
    await context.setOffline(false);
    const second = await open();
    await start(second, dsn, { maxAgeMs: -1000 });
    await second.waitForFunction(() => client.status().dropped.length > 0, undefined, { timeout: 60_000 });
    assert.deepEqual(await second.evaluate(() => client.status().dropped), [
      { category: 'error', reason: 'cache_overflow', quantity: 1 },
    ]);
    await kept(second, 0);
    assert.deepEqual(messagesOf(away), []);
  }),
);
