// The package with its WebAssembly module as a file of its own, which Vite, webpack 5 and browsers find by this address.

import { setSource } from './page.js';

setSource(() => new URL('./surgetank.wasm', import.meta.url));

export { init } from './client.js';
export { makeSurgetankTransport } from './sentry.js';
export { SurgetankSpanExporter, SurgetankSpanProcessor } from './opentelemetry.js';
