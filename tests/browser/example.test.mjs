// The page of `examples/browser-page`: each of its ten ways to break shows what it says, and the page can be looked at.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';

import { launch, root } from './tools.mjs';

const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');

test('the page breaks in ten ways and shows what becomes of it', async (context) => {
  const server = spawn(process.execPath, [join(root, 'examples/browser-page/serve.mjs')], { stdio: ['ignore', 'pipe', 'inherit'] });
  context.after(() => server.kill());
  const address = await new Promise((resolve, reject) => {
    server.once('exit', () => reject(new Error('the server ended')));
    server.stdout.once('data', (line) => resolve(String(line).trim()));
  });
  const browser = await launch();
  context.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1000, height: 1000 } });
  const refused = [];
  page.on('console', (message) => message.text().includes('Content Security Policy') && refused.push(message.text()));
  await page.goto(address);

  /** Waits until the page shows `text` in the element of that id. */
  const shows = (id, text) =>
    page.waitForFunction(([id, text]) => document.getElementById(id).innerText.includes(text), [id, text], { timeout: 60_000 });
  const press = (name) => page.getByRole('button', { name }).click({ timeout: 60_000 });
  const drop = (category, reason) =>
    page.waitForFunction(
      (cells) => [...document.querySelectorAll('#drops tr')].some((row) => cells.every((cell, at) => row.cells[at].textContent === cell)),
      [category, reason],
      { timeout: 60_000 },
    );
  const sum = (category, column, least) =>
    page.waitForFunction(
      ([category, column, least]) =>
        [...document.querySelectorAll('#sums tr')].some((row) => row.cells[0].textContent === category && +row.cells[column].textContent >= least),
      [category, column, least],
      { timeout: 120_000 },
    );

  await shows('health', 'healthy');
  assert.equal(await page.getByRole('button').count(), 11);
  const [wide, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= width, 'nothing stands out of the page');
  const before = hash(await page.locator('#live').screenshot());

  await press('An error that nobody catches');
  await press('A promise that nobody waits for');
  await sum('error', 2, 2);
  await press('An event that is too large');
  await drop('error', 'too_large');
  await press('Two thousand spans');
  await sum('span', 1, 2000);
  await press('A flood of five thousand logs');
  await sum('log_item', 1, 5000);
  await press('Ten thousand errors in a loop');
  await sum('error', 1, 10_000);
  await drop('error', 'buffer_overflow');
  // Recording has an allowance of time, which the loop has used up.
  await page.waitForTimeout(500);
  await press('The server limits errors');
  await drop('error', 'server_rate_limited');
  await page.screenshot({ path: join(root, 'target/browser/example.png'), fullPage: true });
  for (const [name, mode] of [['The server is overloaded', 'overloaded'], ['The server is silent', 'silent'], ['The server is gone', 'gone']]) {
    await press(name);
    await shows('facts', mode);
  }
  await press('The server is well again');
  await shows('facts', 'well');
  const after = await page.locator('#live').screenshot();
  assert.notEqual(hash(after), before, 'what is shown has changed');
  assert.ok(after.length > 10_000, 'and is a picture of something');
  assert.deepEqual(refused, []);
});
