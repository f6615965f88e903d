// How long the tasks of a page's main thread are, in processor time of that thread: unlike time on the clock, it does
// not grow when the machine is busy with something else.

const CATEGORIES = ['-*', 'devtools.timeline', 'disabled-by-default-devtools.timeline', 'blink.user_timing'];

/** The browser's trace lacks what is measured: it loses a part now and then. */
class UnusableTrace extends Error {}

function expect(condition, message) {
  if (!condition) throw new UnusableTrace(message);
}

/** A test that runs `scene`, from its beginning a second and a third time when a trace was of no use. */
export const measured = (scene) => async () => {
  for (let left = 2; ; left--) {
    try {
      return await scene();
    } catch (error) {
      if (!(error instanceof UnusableTrace) || left === 0) throw error;
      console.log(`# ${error.message}; once more`);
    }
  }
};

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
  expect(begin && end, 'a trace without its marks');
  const main = traceEvents.filter(({ pid, tid, ts }) => pid === begin.pid && tid === begin.tid && ts >= begin.ts && ts <= end.ts);
  const runs = main.filter(({ ph, name }) => ph === 'X' && name.endsWith('RunTask'));
  const timed = runs.filter(({ tdur }) => tdur >= 0).length;
  expect(timed > 0 && timed === runs.length, `a trace with the processor time of ${timed} of ${runs.length} tasks`);
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
