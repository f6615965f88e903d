// A page with the package, a server that records, and a browser: what each test begins with and gives back.

import { after, before } from 'node:test';

import { pages, sink } from './servers.mjs';
import { launch, launchPlain, packaged } from './tools.mjs';

/** The page that most tests use: the package in `window.S`, nothing else. */
export const PAGE = `<!doctype html><html><head><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">
<script type="module">import * as own from '/surgetank/index.js'; import { offlineStore } from '/surgetank/offline.js';
window.S = { ...own, offlineStore }; window.ready = true;</script></head>
<body><p>page</p></body></html>`;

/** Hides `page` behind a new tab; in a browser that is `plain`. */
export async function hide(page, open) {
  const other = await open('/other.html');
  await other.bringToFront();
  await page.waitForFunction(() => document.visibilityState === 'hidden', undefined, { timeout: 60_000, polling: 100 });
}

/**
 * Gives `scene(options)` to the tests of a file; the browser is shared, everything else is the test's own. With `plain` the
 * browser, started with `flags`, is one whose pages can be hidden; then they share what they store, too.
 */
export function scenes({ plain = false, flags, ...options } = {}) {
  const shared = {};
  before(async () => {
    shared.browser = plain ? await launchPlain(flags) : await launch(options);
  });
  after(() => shared.browser?.close());

  /** Runs `act` on a new scene, and puts everything away, also when it fails. */
  return (act, { texts = {}, headers = {}, init } = {}) =>
    async () => {
      const away = await sink();
      const home = await pages({
        texts: { '/index.html': PAGE, '/other.html': PAGE.replace('<p>page', '<p>other'), ...texts },
        folders: { '/surgetank/': packaged + '/' },
        headers,
      });
      const context = plain ? shared.browser.contexts()[0] : await shared.browser.newContext();
      const complaints = [];
      const opened = [];
      try {
        context.on('weberror', (error) => complaints.push(String(error.error())));
        if (init) await context.addInitScript(init);
        const open = async (path = '/index.html') => {
          const page = await context.newPage();
          opened.push(page);
          await page.goto(home.origin + path);
          await page.waitForFunction('window.ready === true', undefined, { timeout: 60_000 });
          return page;
        };
        await act({ away, home, context, browser: shared.browser, open, dsn: away.dsn, otlp: away.origin, complaints });
      } finally {
        await (plain ? Promise.all(opened.map((page) => page.close())) : context.close());
        await home.close();
        await away.close();
      }
    };
}
