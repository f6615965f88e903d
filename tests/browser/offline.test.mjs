// What an outage holds back comes back on the next visit: once, from however many tabs, and never at the page's cost.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { scenes } from './scene.mjs';
import { eventsOf } from './servers.mjs';
import { bundle } from './tools.mjs';

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
    return rows.map(({ list, at }) => ({ records: list.length, bytes: list.reduce((sum, { bytes }) => sum + bytes.length, 0), at }));
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
    // Errors may have used up the time that recording may take; a log waits until there is some again.
    await first.evaluate(() => new Promise((done) => setTimeout(done, 200)).then(() => client.log('info', 'a line')));
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

/** A page in a frame of its own, opaque origin: no storage, no locks to speak of. */
const FRAMED = await bundle(`
  import { init } from 'surgetank/inline';
  import { offlineStore } from 'surgetank/offline';
  Object.assign(window, { S: { init, offlineStore }, ready: true });`, 'iife');

test(
  'in a frame without an origin, where storage is really blocked, it goes on in memory',
  scene(
    async ({ open, dsn, away, complaints }) => {
      away.answer = (_, number) => (number === 0 ? 'reset' : {});
      const page = await open('/holder.html');
      const frame = page.frames().find((frame) => frame.url().endsWith('/framed.html'));
      await frame.waitForFunction('window.ready === true', undefined, { timeout: 60_000 });
      const blocked = await frame.evaluate(() => {
        try {
          indexedDB.open('surgetank', 1);
        } catch (error) {
          return error.name;
        }
      });
      assert.equal(blocked, 'SecurityError');
      await start(frame, dsn);
      await record(frame, 'kept in memory');
      await away.until(() => messagesOf(away).length === 2, 'another attempt', 120_000);
      await frame.waitForFunction(() => client.status().categories.error.delivered === 1, undefined, { timeout: 60_000 });
      assert.deepEqual(complaints, []);
    },
    {
      texts: {
        '/holder.html': '<!doctype html><link rel="icon" href="data:,"><iframe sandbox="allow-scripts" src="/framed.html"></iframe><script>window.ready = true;</script>',
        '/framed.html': '<!doctype html><meta charset="utf-8"><script src="/framed.js"></script>',
        '/framed.js': FRAMED,
      },
    },
  ),
);

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

test(
  'with a storage that is full it goes on in memory',
  scene(async ({ open, dsn, away, home, context, complaints }) => {
    let broken = true;
    away.answer = () => (broken ? 'reset' : {});
    const page = await open();
    const driver = await context.newCDPSession(page);
    await driver.send('Storage.overrideQuotaForOrigin', { origin: home.origin, quotaSize: 1 });
    await start(page, dsn);
    await record(page, 'kept in memory');
    // The store gives up when the browser refuses its first row.
    await page.waitForFunction(() => client.page.store.last > 0 && !client.page.store.database, undefined, { timeout: 60_000 });
    broken = false;
    await page.waitForFunction(() => client.status().categories.error.delivered === 1, undefined, { timeout: 180_000 });
    assert.deepEqual(complaints, []);
  }),
);

test(
  'a storage that becomes full while it keeps something gives that back: nothing is lost and nothing comes twice',
  scene(async ({ open, dsn, away, home, context, complaints }) => {
    let broken = true;
    away.answer = () => (broken ? 'reset' : {});
    const first = await open();
    await start(first, dsn);
    await record(first, 'before');
    await kept(first, 1);
    const driver = await context.newCDPSession(first);
    await driver.send('Storage.overrideQuotaForOrigin', { origin: home.origin, quotaSize: 1 });
    await record(first, 'after');
    await first.waitForFunction(() => !client.page.store.database, undefined, { timeout: 60_000 });
    await kept(first, 0);
    // Another tab finds nothing that this one still has.
    broken = false;
    const second = await open();
    await start(second, dsn);
    await first.waitForFunction(() => client.status().categories.error.delivered === 2, undefined, { timeout: 180_000 });
    assert.equal(await second.evaluate(() => client.status().categories.error), undefined);
    const { categories } = await first.evaluate(() => client.status());
    assert.deepEqual(categories.error, { recorded: 2, delivered: 2, dropped: 0, queued: 0 });
    assert.deepEqual(complaints, []);
  }),
);

test(
  'a tab keeps no more bytes than it may',
  scene(async ({ open, dsn, away }) => {
    away.answer = () => 'reset';
    const page = await open();
    const maxBytes = 4000;
    await start(page, dsn, { maxBytes });
    await record(page, ...Array.from({ length: 40 }, (_, number) => `message ${number}`));
    await page.waitForFunction(() => client.page.store.stored && !client.page.store.saving, undefined, { timeout: 60_000 });
    const [row] = await rowsOf(page);
    assert.ok(row.bytes > maxBytes / 2 && row.bytes <= maxBytes, `${row.bytes} bytes`);
    assert.equal(await page.evaluate(() => client.status().categories.error.queued), 40, 'the rest is in memory');
  }),
);

test(
  'rows beyond the eighth are dropped and counted, the others arrive',
  scene(async ({ open, dsn, away, context }) => {
    const first = await open();
    await start(first, dsn);
    await context.setOffline(true);
    await record(first, 'kept');
    await kept(first, 1);
    // As if eleven more tabs had ended in the same state.
    await first.evaluate(async () => {
      const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
      const database = await done(indexedDB.open('surgetank', 1));
      const [row] = await done(database.transaction('tabs').objectStore('tabs').getAll());
      const rows = database.transaction('tabs', 'readwrite').objectStore('tabs');
      for (let number = 0; number < 11; number++) await done(rows.put({ ...row, id: `${row.id}-${number}` }));
      database.close();
    });
    await first.close();
    await context.setOffline(false);
    const second = await open();
    await start(second, dsn);
    await kept(second, 0);
    await second.waitForFunction(
      () => {
        const { error } = client.status().categories;
        return error && error.delivered + error.dropped === 12;
      },
      undefined,
      { timeout: 180_000 },
    );
    const { dropped, categories } = await second.evaluate(() => client.status());
    assert.deepEqual(dropped.map(({ reason }) => reason), ['cache_overflow']);
    assert.ok(categories.error.delivered >= 7 && categories.error.delivered <= 8, `${categories.error.delivered} of 8 rows`);
    assert.equal(messagesOf(away).length, categories.error.delivered);
  }),
);
