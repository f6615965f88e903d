// How long the tasks of a page's main thread are, in processor time of that thread: unlike time on the clock, it does
// not grow when the machine is busy with something else.

import assert from 'node:assert/strict';

const CATEGORIES = ['-*', 'devtools.timeline', 'disabled-by-default-devtools.timeline', 'blink.user_timing'];

/**
 * Runs `act` and gives the processor time in milliseconds of each task of `page`'s main thread meanwhile:
 * `marked` by the name of the `performance.mark` that a task made, `others` in falling order, of which `what` says what
 * ran in them.
 */
export async function tasksOf(browser, page, act) {
  await browser.startTracing(page, { categories: CATEGORIES });
  await page.evaluate(() => performance.mark('begin'));
  await act();
  await page.evaluate(() => performance.mark('end'));
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  const isMark = ({ cat, name }) => cat.split(',').includes('blink.user_timing') && name;
  const [begin, end] = ['begin', 'end'].map((name) => traceEvents.find((event) => isMark(event) === name));
  assert.ok(begin && end, 'the trace has its marks');
  const main = traceEvents.filter(({ pid, tid, ts }) => pid === begin.pid && tid === begin.tid && ts >= begin.ts && ts <= end.ts);
  const runs = main.filter(({ ph, name }) => ph === 'X' && name.endsWith('RunTask'));
  assert.ok(runs.length > 0 && runs.every(({ tdur }) => tdur >= 0), 'the trace has tasks, with their processor time');
  const marked = {};
  const others = [];
  for (const run of runs) {
    const inside = main.filter((event) => event !== run && event.ts >= run.ts && event.ts < run.ts + run.dur);
    const mark = inside.map(isMark).find(Boolean);
    const what = inside.filter(({ ph, dur }) => ph === 'X' && dur > run.dur / 4).map(({ name }) => name);
    if (mark) marked[mark] = run.tdur / 1000;
    else others.push({ millis: run.tdur / 1000, what: [...new Set(what)].join(' ') });
  }
  others.sort((one, other) => other.millis - one.millis);
  return { marked, others };
}
