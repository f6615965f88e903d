// The package with its WebAssembly module inside, for bundlers that load no files and pages that want no second request.

import base64 from 'engine-bytes';
import { setSource } from './page.js';

// Compressed before it is made text: text made of bytes compresses badly afterwards.
setSource(() => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(plain, { headers: { 'content-type': 'application/wasm' } });
});

export { init } from './client.js';
export { makeSurgetankTransport } from './sentry.js';
export { SurgetankSpanExporter, SurgetankSpanProcessor } from './opentelemetry.js';
