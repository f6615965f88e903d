// What the records of the two protocols have in common for their makers: a destination, and numbers for resources and
// scopes.

import { request, resource, scope, span } from './otlp.js';

/** Numbers of the engine's categories and forms. */
export const ERROR = 1;
export const SPAN = 12;
export const LOG = 23;
export const DEFAULT = 0;
export const ENVELOPE = -1;
export const ELEMENT = 2;
const OTLP_RECORD = 3;
const OTLP_REQUEST = 4;

const SIGNALS = ['', 'traces', 'logs', 'metrics'];

/** The part of a trace id that the engine decides by. */
export const traceKey = (traceId) => (traceId ? BigInt('0x' + traceId.slice(-16)) : 0n);

/** The addresses of an OTLP receiver, one for each signal. */
export function otlpUrls(endpoint) {
  const base = String(endpoint).replace(/\/+$/, '');
  return SIGNALS.map((signal) => (signal ? `${base}/v1/${signal}` : ''));
}

/** The address and key of a Sentry project; throws on a text that is no DSN. */
export function dsnOf(text) {
  const match = /^(https?):\/\/(\w+)(?::\w*)?@([^/?#@]+)(\/(?:[^?#]*\/)?)(\d+)\/*$/.exec(String(text).trim());
  if (!match) throw new Error('not a DSN; it has the form https://PUBLIC_KEY@HOST/PROJECT_ID');
  const [, scheme, key, host, path, project] = match;
  // Authentication in the query costs no preflight, as a header would.
  const client = 'sentry.javascript.surgetank%2F' + VERSION;
  const query = `?sentry_version=7&sentry_key=${key}&sentry_client=${client}`;
  return { key, url: `${scheme}://${host}${path}api/${project}/envelope/${query}` };
}

/** Records OTLP messages, each under its resource and scope. */
export class OtlpRecords {
  constructor(page, to) {
    this.page = page;
    this.to = { ...to, otlp: true };
    this.number = undefined;
    this.resources = new Map();
  }

  /** The number of the destination, which is opened when the first record comes. */
  destination() {
    if (this.number === undefined) this.number = this.page.open(this.to);
    return this.number;
  }

  /** `{number, resource, scope}` of two objects; `number` is -1 when there are too many. */
  origin(resourceAttributes, instrumentation) {
    let scopes = this.resources.get(resourceAttributes);
    if (!scopes) this.resources.set(resourceAttributes, (scopes = { bytes: resource(resourceAttributes), known: new Map() }));
    const key = `${instrumentation.name}\n${instrumentation.version || ''}`;
    let origin = scopes.known.get(key);
    if (!origin) {
      const bytes = scope(instrumentation);
      origin = { number: this.page.origin(this.destination(), scopes.bytes, bytes), resource: scopes.bytes, scope: bytes };
      scopes.known.set(key, origin);
    }
    return origin;
  }

  record(category, traceId, urgent, resourceAttributes, instrumentation, encode) {
    const page = this.page;
    page.whenReady(() => {
      const kind = { form: OTLP_RECORD, category, urgent, trace: traceKey(traceId) };
      page.record(this.destination(), kind, (kind) => {
        const bytes = encode();
        const origin = this.origin(resourceAttributes, instrumentation);
        if (origin.number >= 0) {
          kind.origin = origin.number;
          return bytes;
        }
        kind.form = OTLP_REQUEST;
        return request(origin.resource, origin.scope, bytes);
      });
    }, category);
  }

  /** Records an ended span of the OpenTelemetry SDK. */
  span(ended) {
    const instrumentation = ended.instrumentationScope || ended.instrumentationLibrary || {};
    const { resource } = ended;
    const write = () =>
      this.record(SPAN, ended.spanContext().traceId, false, resource.attributes, instrumentation, () => span(ended));
    // Some attributes of a resource may still be looked up.
    if (resource.asyncAttributesPending && resource.waitForAsyncAttributes) resource.waitForAsyncAttributes().then(write, write);
    else write();
  }
}
