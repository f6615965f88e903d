// Makes the npm package of the module that `cargo xtask wasm` laid into `dist/` and of the JavaScript that `bindgen/` wrote for
// it: bundles, minifies, reports sizes. It lies in `dist/npm` then, and where its tests look for it.

import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

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

await esbuild.build({ ...options, entryPoints: ['js/index.js', 'js/inline.js'], outdir: folder, sourcemap: true });
copyFileSync(join(own, 'js/index.d.ts'), join(folder, 'index.d.ts'));
copyFileSync(join(own, 'README.md'), join(folder, 'README.md'));
for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) copyFileSync(join(root, name), join(folder, name));
writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2) + '\n');
const tested = join(modules, 'surgetank');
rmSync(tested, { recursive: true, force: true });
cpSync(folder, tested, { recursive: true });

// ---- sizes: what a page loads that uses one part, bundled and compressed ------------------------------------------------

const zipped = (data) => gzipSync(data, { level: 9 }).length;

async function bundled(contents, external = []) {
  const result = await esbuild.build({
    ...options,
    plugins: [],
    external: ['./surgetank.wasm', ...external],
    stdin: { contents, resolveDir: modules },
    alias: { surgetank: folder },
    nodePaths: [modules],
    write: false,
  });
  return zipped(result.outputFiles[0].contents);
}

const wasm = zipped(bytes);
const uses = {
  'init, without offline storage': "import { init } from 'surgetank'; init({ dsn: '' });",
  'transport for @sentry/browser': "export { makeSurgetankTransport } from 'surgetank';",
  'exporter for OpenTelemetry': "export { SurgetankSpanExporter } from 'surgetank';",
  everything: "export * from 'surgetank';",
};
const peers = {
  '@sentry/browser, minimal': "import * as S from '@sentry/browser'; S.init({ dsn: '' }); S.captureMessage('');",
  'OpenTelemetry web tracing with its OTLP exporter':
    "import { WebTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-web';" +
    "import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';" +
    'new WebTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] }).register();',
  'Datadog browser logs':
    "import { datadogLogs } from '@datadog/browser-logs'; datadogLogs.init({ clientToken: '' }); datadogLogs.logger.info('');",
  'Grafana Faro': "import { initializeFaro } from '@grafana/faro-web-sdk'; initializeFaro({ url: '', app: { name: '' } });",
};
const rows = [['WebAssembly module', bytes.length, wasm]];
for (const [name, contents] of Object.entries(uses)) {
  const javascript = await bundled(contents);
  rows.push([`surgetank: ${name}`, '', javascript + wasm]);
}
rows.push(['surgetank/inline: everything', '', zipped(readFileSync(join(folder, 'inline.js')))]);
for (const [name, contents] of Object.entries(peers)) {
  rows.push([name, '', await bundled(contents)]);
}
for (const [name, raw, compressed] of rows) {
  console.log(`${name.padEnd(52)} ${String(raw).padStart(8)} ${String(compressed).padStart(8)} bytes with gzip`);
}
