// What the tests need from npm: `cargo xtask setup` installs it where the package is built, not here.

import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** Where the packages are, the one under test among them. */
export const modules = join(root, 'target/browser/node_modules');
export const packaged = join(modules, 'surgetank');
export const require = createRequire(join(modules, 'none.js'));

const { chromium } = require('playwright-core');

const executablePath = process.env.CHROMIUM || execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim();

const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A browser; it ends with the test that started it. */
export const launch = (more = {}) => chromium.launch({ executablePath, args, ...more });

/** Code as one script that a page can load, with the package and the SDKs in it. */
export async function bundle(contents, format = 'esm') {
  const built = await require('esbuild').build({
    stdin: { contents, resolveDir: modules },
    nodePaths: [modules],
    bundle: true,
    format,
    write: false,
    logLevel: 'error',
  });
  return built.outputFiles[0].text;
}
