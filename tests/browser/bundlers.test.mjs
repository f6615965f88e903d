// The package in what people build with: each bundler makes a site, and the site sends an event.

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { scenes } from './scene.mjs';
import { eventsOf, pages } from './servers.mjs';
import { modules, packaged, require, root } from './tools.mjs';

const scene = scenes();

// Within reach of the installed packages, as an application's own folder would be.
const work = join(root, 'target/browser/sites');
const html = (script) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="${script}"></script>`;
const source = (from) => `import { init } from '${from}';
import { offlineStore } from 'surgetank/offline';
const dsn = decodeURIComponent(location.hash.slice(1));
const client = init({ dsn, offline: offlineStore() });
client.captureMessage('built');
window.ready = true;
`;

function site(name, from) {
  const folder = join(work, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'main.js'), source(from));
  writeFileSync(join(folder, 'package.json'), '{"type":"module","private":true}');
  return folder;
}

async function esbuilt(folder) {
  const outdir = join(folder, 'dist');
  const entryPoints = [join(folder, 'main.js')];
  await require('esbuild').build({ entryPoints, outdir, bundle: true, minify: true, format: 'esm', logLevel: 'error' });
  writeFileSync(join(outdir, 'index.html'), html('/main.js'));
  return outdir;
}

const BUILDERS = {
  async 'Vite'() {
    const folder = site('vite', 'surgetank');
    writeFileSync(join(folder, 'index.html'), html('/main.js'));
    const { build } = await import(pathToFileURL(join(modules, 'vite/dist/node/index.js')));
    await build({ root: folder, logLevel: 'error', configFile: false, build: { outDir: join(folder, 'dist') } });
    return join(folder, 'dist');
  },
  async 'webpack 5'() {
    const folder = site('webpack', 'surgetank');
    const webpack = require('webpack');
    await new Promise((resolve, reject) => {
      webpack(
        { context: folder, mode: 'production', entry: './main.js', output: { path: join(folder, 'dist'), filename: 'main.js' } },
        (error, stats) => (error || stats.hasErrors() ? reject(error || new Error(stats.toString())) : resolve()),
      );
    });
    writeFileSync(join(folder, 'dist/index.html'), html('/main.js'));
    return join(folder, 'dist');
  },
  async 'esbuild, with the module inside'() {
    return esbuilt(site('esbuild-inline', 'surgetank/inline'));
  },
  async 'esbuild, with the module put beside the script'() {
    const built = await esbuilt(site('esbuild', 'surgetank'));
    copyFileSync(join(packaged, 'surgetank.wasm'), join(built, 'surgetank.wasm'));
    return built;
  },
  async 'no bundler, only <script type="module"> and an import map'() {
    const folder = site('script', 'surgetank');
    const map = { imports: { surgetank: '/surgetank/index.js', 'surgetank/offline': '/surgetank/offline.js' } };
    writeFileSync(join(folder, 'index.html'), `<script type="importmap">${JSON.stringify(map)}</script>${html('/main.js')}`);
    return folder;
  },
};

for (const [name, build] of Object.entries(BUILDERS)) {
  test(
    `a site built with ${name} sends`,
    scene(async ({ context, dsn, away, complaints }) => {
      const home = await pages({ folders: { '/surgetank/': packaged + '/', '/': (await build()) + '/' } });
      try {
        const page = await context.newPage();
        await page.goto(home.origin + '/index.html#' + encodeURIComponent(dsn));
        await away.until((requests) => eventsOf(requests).some(({ message }) => message === 'built'));
        assert.deepEqual(complaints, []);
      } finally {
        await home.close();
      }
    }),
  );
}

test(
  "a site on Vite's development server, which bundles packages beforehand, sends",
  scene(async ({ context, dsn, away, complaints }) => {
    const folder = site('vite-development', 'surgetank');
    writeFileSync(join(folder, 'index.html'), html('/main.js'));
    const { createServer } = await import(pathToFileURL(join(modules, 'vite/dist/node/index.js')));
    const server = await createServer({
      root: folder,
      cacheDir: join(folder, '.vite'),
      configFile: false,
      logLevel: 'error',
      // A project has its packages in its own folder.
      server: { host: '127.0.0.1', port: 0, hmr: false, watch: null, fs: { allow: [folder, modules] } },
    });
    try {
      await server.listen();
      const page = await context.newPage();
      await page.goto(server.resolvedUrls.local[0] + '#' + encodeURIComponent(dsn));
      await away.until((requests) => eventsOf(requests).some(({ message }) => message === 'built'), 'the event', 120_000);
      assert.deepEqual(complaints, []);
    } finally {
      await server.close();
    }
  }),
);

test('the types are right for those who use them', async () => {
  const folder = site('types', 'surgetank');
  const program = `import { init, makeSurgetankTransport, SurgetankSpanExporter, SurgetankSpanProcessor } from 'surgetank';
import { init as inlineInit } from 'surgetank/inline';
import { offlineStore } from 'surgetank/offline';
import * as Sentry from '@sentry/browser';
import { BatchSpanProcessor, WebTracerProvider } from '@opentelemetry/sdk-trace-web';
const client = init({ dsn: 'https://key@host/1', release: '1', offline: offlineStore({ maxBytes: 1 }) });
const same: typeof init = inlineInit;
client.captureException(new Error('x'), { tags: { a: 'b' } });
const span = client.startSpan('x', { attributes: { n: 1 } });
client.log('warn', 'text', { n: 1 }, span);
const health: 'healthy' | 'degraded' | 'unhealthy' = client.status().health;
client.flush().then((done: boolean) => void [done, health, same]);
Sentry.init({ dsn: 'https://key@host/1', transport: makeSurgetankTransport });
new WebTracerProvider({
  spanProcessors: [new SurgetankSpanProcessor(), new BatchSpanProcessor(new SurgetankSpanExporter({ endpoint: 'x' }))],
});
// @ts-expect-error: there is no such setting
init({ dns: '' });
// @ts-expect-error: it is in an entry of its own
void (await import('surgetank')).offlineStore;
`;
  writeFileSync(join(folder, 'main.ts'), program);
  const typescript = require('typescript');
  const checked = typescript.createProgram([join(folder, 'main.ts')], {
    module: typescript.ModuleKind.ESNext,
    moduleResolution: typescript.ModuleResolutionKind.Bundler,
    target: typescript.ScriptTarget.ES2022,
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    types: [],
  });
  const complaints = typescript.getPreEmitDiagnostics(checked).map(({ messageText }) => typescript.flattenDiagnosticMessageText(messageText, '\n'));
  assert.deepEqual(complaints, []);
});

for (const name of ['index.js', 'inline.js', 'offline.js']) {
  test(`the source map of ${name} leads to the sources, which it has with it`, () => {
    const script = readFileSync(join(packaged, name), 'utf8');
    const [, mapped] = /\/\/# sourceMappingURL=(\S+)\s*$/.exec(script);
    const payload = JSON.parse(readFileSync(join(packaged, mapped), 'utf8'));
    const map = new SourceMap(payload);
    // Texts that minifying leaves as they are, and their files.
    const texts = name === 'offline.js' ? { readwrite: 'store.js' } : { 'not a DSN': 'records.js', 'no WebAssembly': 'page.js', sendBeacon: 'page.js' };
    for (const [text, file] of Object.entries(texts)) {
      const before = script.slice(0, script.indexOf(text)).split('\n');
      const entry = map.findEntry(before.length - 1, before.at(-1).length);
      assert.ok(entry.originalSource?.endsWith(`/${file}`), `${text} is in ${entry.originalSource}`);
      const own = payload.sourcesContent[payload.sources.findIndex((source) => source.endsWith(`/${file}`))];
      const line = own.split('\n')[entry.originalLine];
      assert.ok(line.includes(text), `line ${entry.originalLine + 1} of ${file} has ${text}: ${line}`);
    }
  });
}
