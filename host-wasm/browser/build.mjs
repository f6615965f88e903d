// Makes the npm package of the module that `cargo xtask wasm` laid into `dist/` and of the JavaScript that `bindgen/` wrote for
// it: bundles, minifies, reports sizes. It lies in `dist/npm` then, and where its tests look for it.

import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const own = dirname(fileURLToPath(import.meta.url));
const root = join(own, '../..');
const generated = join(root, 'target/browser/engine');
const modules = join(root, 'target/browser/node_modules');
const folder = join(root, 'dist/npm');
const require = createRequire(join(modules, 'none.js'));
const esbuild = require('esbuild');
const manifest = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8'));

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const bytes = readFileSync(join(root, 'dist/surgetank-browser.wasm'));
writeFileSync(join(folder, 'surgetank.wasm'), bytes);
const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ name }) => name);
const unwanted = imports.filter((name) => name !== '__wbindgen_init_externref_table');
if (unwanted.length) throw new Error(`the module imports ${unwanted.join(', ')}`);

/** What the sources import under names of their own. */
const engine = {
  name: 'engine',
  setup(build) {
    build.onResolve({ filter: /^engine$/ }, () => ({ path: join(generated, 'engine.js') }));
    build.onResolve({ filter: /^engine-bytes$/ }, () => ({ path: 'bytes', namespace: 'bytes' }));
    build.onLoad({ filter: /.*/, namespace: 'bytes' }, () => ({ contents: gzipSync(bytes, { level: 9 }).toString('base64'), loader: 'text' }));
  },
};

const options = {
  absWorkingDir: own,
  bundle: true,
  define: { VERSION: JSON.stringify(manifest.version) },
  format: 'esm',
  legalComments: 'none',
  minify: true,
  plugins: [engine],
  target: 'es2021',
};

await esbuild.build({ ...options, entryPoints: ['js/index.js', 'js/inline.js', 'js/offline.js'], outdir: folder, sourcemap: true });
for (const name of ['index.d.ts', 'offline.d.ts']) copyFileSync(join(own, 'js', name), join(folder, name));
copyFileSync(join(own, 'README.md'), join(folder, 'README.md'));
for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) copyFileSync(join(root, name), join(folder, name));
writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2) + '\n');
const tested = join(modules, 'surgetank');
rmSync(tested, { recursive: true, force: true });
cpSync(folder, tested, { recursive: true });

// ---- sizes: what a page loads that uses one part, bundled and compressed ------------------------------------------------

const zipped = (data) => gzipSync(data, { level: 9 }).length;
const brotli = (data) => brotliCompressSync(data).length;

async function bundled(contents) {
  const result = await esbuild.build({
    ...options,
    plugins: [],
    external: ['./surgetank.wasm'],
    stdin: { contents, resolveDir: modules },
    alias: { 'surgetank/offline': join(folder, 'offline.js'), surgetank: join(folder, 'index.js') },
    nodePaths: [modules],
    write: false,
  });
  return result.outputFiles[0].contents;
}

const uses = {
  'init, without a store for outages': "import { init } from 'surgetank'; init({ dsn: '' });",
  'init, with one': "import { init } from 'surgetank'; import { offlineStore } from 'surgetank/offline'; init({ dsn: '', offline: offlineStore() });",
  'transport for @sentry/browser': "export { makeSurgetankTransport } from 'surgetank';",
  'exporter for OpenTelemetry': "export { SurgetankSpanExporter } from 'surgetank';",
  everything: "export * from 'surgetank'; export * from 'surgetank/offline';",
};
const peers = {
  '@sentry/browser, minimal': "import * as S from '@sentry/browser'; S.init({ dsn: '' }); S.captureMessage('');",
  '@sentry/browser with its offline transport':
    "import * as S from '@sentry/browser'; S.init({ dsn: '', transport: S.makeBrowserOfflineTransport(S.makeFetchTransport) }); S.captureMessage('');",
  'OpenTelemetry web tracing with its OTLP exporter':
    "import { WebTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-web';" +
    "import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';" +
    'new WebTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] }).register();',
  'Datadog browser logs':
    "import { datadogLogs } from '@datadog/browser-logs'; datadogLogs.init({ clientToken: '' }); datadogLogs.logger.info('');",
  'Grafana Faro': "import { initializeFaro } from '@grafana/faro-web-sdk'; initializeFaro({ url: '', app: { name: '' } });",
};
/** Most bytes that all of the package's JavaScript may have, compressed; the module's limit is with the other modules'. */
const MOST = 10.5 * 1024;

const row = (name, javascript, wasm) => ({
  name,
  javascript: zipped(javascript),
  gzip: zipped(javascript) + (wasm ? zipped(wasm) : 0),
  brotli: brotli(javascript) + (wasm ? brotli(wasm) : 0),
});
const rows = [];
for (const [name, contents] of Object.entries(uses)) rows.push(row(`surgetank: ${name}`, await bundled(contents), bytes));
rows.push(row('surgetank/inline, without a store', readFileSync(join(folder, 'inline.js'))));
for (const [name, contents] of Object.entries(peers)) rows.push(row(name, await bundled(contents)));
const line = (name, ...cells) => console.log(name.padEnd(50) + cells.map((cell) => String(cell).padStart(12)).join(''));
line('what a page loads, in bytes', 'JavaScript', 'all, gzip', 'all, brotli');
line('the module alone', '', zipped(bytes), brotli(bytes));
for (const { name, javascript, gzip, brotli } of rows) line(name, javascript, gzip, brotli);
const { javascript } = rows.find(({ name }) => name.endsWith('everything'));
if (javascript > MOST) throw new Error(`the package's JavaScript has ${javascript} bytes, and may have ${MOST}`);
