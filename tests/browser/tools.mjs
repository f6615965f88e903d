// What the tests need from npm: `cargo xtask setup` installs it where the package is built, not here.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
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

/**
 * A browser as users have it, but for `flags`: the driver's own browsers show every page and throttle none. Its pages share one
 * context and one window, in which the page brought to the front hides the others.
 */
export async function launchPlain(flags = []) {
  const profile = mkdtempSync(join(tmpdir(), 'surgetank-chromium-'));
  const own = ['--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'];
  const child = spawn(executablePath, [...args, ...flags, ...own], { stdio: ['ignore', 'ignore', 'pipe'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const close = async () => {
    kill();
    await ended;
    process.off('exit', kill);
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  };
  try {
    const address = await new Promise((resolve, reject) => {
      let said = '';
      child.stderr.on('data', (piece) => {
        said += piece;
        const [, found] = /DevTools listening on (\S+)/.exec(said) || [];
        if (found) resolve(found);
      });
      ended.then((code) => reject(new Error(`Chromium ended with ${code}: ${said}`)));
    });
    const browser = await chromium.connectOverCDP(address, { noDefaults: true });
    return { contexts: () => browser.contexts(), close: () => browser.close().finally(close) };
  } catch (error) {
    await close();
    throw error;
  }
}

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
