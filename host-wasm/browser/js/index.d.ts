// Types of the npm package `surgetank`.

/** How bad something is. `warning` and `warn` are the same. */
export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'warning' | 'error' | 'fatal';

/** What can be said beside a log, a span or an event. */
export type Attributes = Record<string, unknown>;

/** Settings of the engine that the page's clients, transports and exporters share; those of the first one count. */
export interface EngineOptions {
  /** Memory for records in bytes, 16 KiB to 64 MiB, taken once; 512 KiB if absent. A record may take half of it. */
  queueBytes?: number;
  /** Keeps what an outage holds back for the next visit; without it, records live as long as the page. */
  offline?: OfflineStore;
  /** Where the WebAssembly module is, or its bytes; beside the script (or in it) if absent. */
  wasm?: string | URL | Response | BufferSource | WebAssembly.Module | (() => unknown);
}

/** From `offlineStore` of `surgetank/offline`. */
export interface OfflineStore {
  readonly name: string;
}

export interface Options extends EngineOptions {
  /** A Sentry project: `https://PUBLIC_KEY@HOST/PROJECT_ID`. Either this or `otlpEndpoint`. */
  dsn?: string;
  /** Base address of an OTLP/HTTP receiver: `https://collector.example:4318`. */
  otlpEndpoint?: string;
  /** Version of the application. */
  release?: string;
  /** Where it runs: `production`, `staging`. */
  environment?: string;
  /** Resource attribute `service.name` (OTLP). */
  serviceName?: string;
  /** More resource attributes (OTLP). */
  resource?: Attributes;
  /** Share of traces that are kept, 0 to 1; 1 if absent. */
  tracesSampleRate?: number;
  /** Headers of every request. They cost a preflight, and beacons cannot carry them. */
  headers?: Record<string, string>;
  /** Address that envelopes are sent to instead of the DSN's. */
  tunnel?: string;
  /** Record what nobody catches; true if absent. */
  globalHandlers?: boolean;
  /** How long one request may take, in milliseconds; 30 000 for Sentry, 10 000 for OTLP. */
  timeoutMs?: number;
}

/** What is known around an event. */
export interface Hint {
  level?: Level;
  /** Short, searchable facts. */
  tags?: Record<string, string>;
  /** Anything else. */
  extra?: Attributes;
  user?: { id?: string; email?: string; username?: string; [key: string]: unknown };
  /** The operation it belongs to. */
  span?: Span;
  mechanism?: { type: string; handled: boolean };
}

export interface SpanOptions {
  attributes?: Attributes;
  parent?: Span;
  kind?: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
}

/** An operation. Recorded when it ends, unless its trace was sampled out. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
  setAttribute(key: string, value: unknown): Span;
  setStatus(status: 'ok' | 'error', message?: string): Span;
  /** An operation within this one. */
  startSpan(name: string, options?: SpanOptions): Span;
  /** The W3C `traceparent` header for requests that belong to it. */
  traceparent(): string;
  end(): void;
}

/** Sums of one category: recorded = delivered + dropped + queued, at any moment. */
export interface Sums {
  recorded: number;
  delivered: number;
  dropped: number;
  queued: number;
}

export interface Destination {
  /** Records that wait to be sent. */
  waiting: number;
  inFlight: number;
  /** Requests that wait for another attempt. */
  retrying: number;
  /** Requests that may be in flight now; follows the server. */
  concurrency: number;
  breaker: 'closed' | 'open' | 'half-open';
  /** Nothing is sent for this long, in milliseconds. */
  pausedMs: number;
  /** Categories that the server limits now. */
  limited: string[];
}

export interface Status {
  /** `off` where WebAssembly or a valid setting is missing: every call is without effect then. */
  state: 'loading' | 'running' | 'closed' | 'off';
  /** Why it is off. */
  why: string;
  health: 'healthy' | 'degraded' | 'unhealthy';
  causes: string[];
  /** How full the memory for records is, in permille. */
  fillPermille?: number;
  /** Downsample factor: of n, one trace in 2^n is kept. */
  factor?: number;
  inFlight?: number;
  /** Requests that outlived their deadline, answers that came too late, times that went backwards. */
  stalls?: number;
  staleAnswers?: number;
  clockStepsBack?: number;
  categories: Record<string, Sums>;
  dropped: { category: string; reason: string; quantity: number }[];
  destinations: Destination[];
  /** In flight with `keepalive`, of which a page may have 64 KiB. */
  keepalive: { requests: number; bytes: number };
  /** Requests that wait for room among them. */
  waiting: number;
  /** Requests handed over by `sendBeacon` as the page went away: counted as delivered, though nobody heard an answer. */
  beacons: number;
  /** Calls dropped because the engine was not loaded yet. */
  unsaid: number;
}

export interface Client {
  /** Records what was thrown, with its causes. */
  captureException(thrown: unknown, hint?: Hint): void;
  captureMessage(text: string, level?: Level, hint?: Hint): void;
  log(level: Level, body: string, attributes?: Attributes, span?: Span): void;
  startSpan(name: string, options?: SpanOptions): Span;
  /** The page's engine at a glance: all clients, transports and exporters together. */
  status(): Status;
  /** Sends what was recorded so far; true when all of it is settled within that time. 2000 ms if absent. */
  flush(timeoutMs?: number): Promise<boolean>;
  /** Ends the page's engine, for everybody who uses it; true when nothing was left to drop. */
  close(timeoutMs?: number): Promise<boolean>;
}

/** Makes a client. Wrong settings are said on the console, and the client then does nothing; it never throws. */
export function init(options: Options): Client;

/** What `@sentry/browser` gives its transports, as far as it is used. */
export interface SentryTransportOptions {
  url: string;
  headers?: Record<string, string>;
  /** For the engine, if this is the first that uses it. */
  surgetank?: EngineOptions;
}

/** `Sentry.init({ dsn, transport: makeSurgetankTransport })` */
export function makeSurgetankTransport(options: SentryTransportOptions): {
  // The SDK's own types are not named here, so that the package needs none of its packages.
  send(envelope: any): PromiseLike<{ statusCode?: number }>;
  flush(timeout?: number): PromiseLike<boolean>;
};

export interface ExporterOptions {
  /** Base address of an OTLP/HTTP receiver; `http://localhost:4318` if absent. */
  endpoint?: string;
  /** The whole address for traces, instead. */
  url?: string;
  headers?: Record<string, string>;
  timeoutMs?: number;
  surgetank?: EngineOptions;
}

/** A `SpanExporter` of `@opentelemetry/sdk-trace-web`. */
export class SurgetankSpanExporter {
  constructor(options?: ExporterOptions);
  export(spans: any[], done: (result: { code: number; error?: Error }) => void): void;
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}

/** A `SpanProcessor` of `@opentelemetry/sdk-trace-web`: records sampled spans as they end; no other is needed. */
export class SurgetankSpanProcessor {
  constructor(options?: ExporterOptions);
  onStart(): void;
  onEnd(span: any): void;
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}
