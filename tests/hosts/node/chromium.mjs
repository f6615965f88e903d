// Plays tapes (tests/hosts/src/tape.rs) on a module in headless Chromium, with the same `play` as Node.js:
// node chromium.mjs MODULE FUNCTIONS [TAPE RESULTS ...]

import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { pages, sink } from '../../browser/servers.mjs';
import { launch } from '../../browser/tools.mjs';

const [path, list, ...files] = process.argv.slice(2);
const texts = {
  '/index.html': '<!doctype html><title>tapes</title><link rel="icon" href="data:,">',
  '/play.mjs': await readFile(fileURLToPath(new URL('play.mjs', import.meta.url))),
  '/module.wasm': await readFile(path),
};
const names = [];
for (let at = 0; at < files.length; at += 2) {
  names.push(`/tape/${at / 2}`);
  texts[names.at(-1)] = await readFile(files[at]);
}

const home = await pages({ texts });
const away = await sink();
let browser;
try {
  browser = await launch();
  const page = await browser.newPage();
  await page.goto(home.origin + '/index.html');
  const played = await page.evaluate(
    async ({ names, functions, away }) => {
      const { play } = await import('/play.mjs');
      const module = await WebAssembly.compileStreaming(fetch('/module.wasm'));
      for (const name of names) {
        const tape = new Uint8Array(await (await fetch(name)).arrayBuffer());
        await fetch(away + name, { method: 'POST', body: new Blob(play(module, functions, tape)) });
      }
      return navigator.userAgent;
    },
    { names, functions: list.split(','), away: away.origin },
  );
  console.log(`played ${names.length} tapes in ${played}`);
  for (const { path, body } of away.requests) await writeFile(files[names.indexOf(path) * 2 + 1], body);
} finally {
  await browser?.close();
  await home.close();
  await away.close();
}
