// Plays tapes (tests/hosts/src/tape.rs) on a module in headless Chromium, with the same `play` as Node.js:
// node chromium.mjs MODULE FUNCTIONS [TAPE RESULTS ...]

import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { pages } from '../../browser/servers.mjs';
import { launch } from '../../browser/tools.mjs';

const [path, list, ...files] = process.argv.slice(2);
const texts = {
  '/index.html': '<!doctype html><title>tapes</title><link rel="icon" href="data:,">',
  '/play.mjs': await readFile(fileURLToPath(new URL('play.mjs', import.meta.url))),
  '/module.wasm': await readFile(path),
};
for (let at = 0; at < files.length; at += 2) texts[`/tape/${at}`] = await readFile(files[at]);

const home = await pages({ texts });
let browser;
try {
  browser = await launch();
  const page = await browser.newPage();
  await page.goto(home.origin + '/index.html');
  for (let at = 0; at < files.length; at += 2) {
    const results = await page.evaluate(
      async ({ name, functions }) => {
        const { play } = await import('/play.mjs');
        const module = await WebAssembly.compileStreaming(fetch('/module.wasm'));
        const tape = new Uint8Array(await (await fetch(name)).arrayBuffer());
        const reader = new FileReader();
        const read = new Promise((done) => reader.addEventListener('load', done));
        reader.readAsDataURL(new Blob(play(module, functions, tape)));
        await read;
        return reader.result.slice(reader.result.indexOf(',') + 1);
      },
      { name: `/tape/${at}`, functions: list.split(',') },
    );
    await writeFile(files[at + 1], Buffer.from(results, 'base64'));
  }
  console.log(`played ${files.length / 2} tapes in Chromium ${browser.version()}`);
} finally {
  await browser?.close();
  await home.close();
}
