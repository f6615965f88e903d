// Where the bytes of a module are: the sizes of its functions, summed by what they are for. It needs their names, which the
// linked module has and the shipped one no longer.

/** Areas by the functions' names; the first that matches. */
const AREAS = [
  ['envelopes: reading, filtering, composing', /wire::(envelope|client_report|sink|timestamp)/],
  ['JSON: reading, quoting', /wire::json/],
  ['OTLP: requests, answers', /wire::otlp|request::Request>?::write_records/],
  ['limits and Retry-After: reading', /wire::(rate_limits|retry_after|http_date|seconds)/],
  ['engine: admitting, scheduling, settling', /core::(engine|request|destination|notice|sampling|gate)/],
  ['engine: limits, breaker, back-off, health, books', /core::(ratelimit|breaker|backoff|concurrency|downsample|health|pressure|ledger|config|rng)/],
  ['engine: queue and memory', /core::(queue|storage|record|ring)/],
  ['of the browser alone: store for outages', /browser::(store|host::Host::(next_held|begin_held|restore))/],
  ['of the browser alone: status', /browser::(status|host::Host::status)/],
  ['of the browser alone: calls, windows, allowance', /browser::|^\w+$/],
  ['libraries', /./],
];

/** `[[area, bytes, functions], ...]`, the largest first. */
export function areasOf(bytes) {
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  const text = () => {
    const length = number();
    return bytes.subarray(at, (at += length)).toString();
  };
  // Functions are numbered from the first imported one on.
  let imported = 0;
  const sizes = [];
  const names = new Map();
  while (at < bytes.length) {
    const section = bytes[at++];
    const end = number() + at;
    if (section === 2) {
      for (let left = number(); left > 0; left--) {
        text();
        text();
        if (bytes[at++] !== 0) throw new Error('only functions are imported');
        number();
        imported++;
      }
    } else if (section === 10) {
      for (let left = number(); left > 0; left--) {
        const size = number();
        sizes.push(size);
        at += size;
      }
    } else if (section === 0 && text() === 'name') {
      while (at < end) {
        const [kind, stop] = [bytes[at++], number() + at];
        if (kind === 1) for (let left = number(); left > 0; left--) names.set(number(), text());
        at = stop;
      }
    }
    at = end;
  }
  if (!names.size) throw new Error('the functions have no names');
  const sums = new Map();
  sizes.forEach((size, index) => {
    const name = names.get(imported + index) || '';
    const [area] = AREAS.find(([, pattern]) => pattern.test(name)) || AREAS.at(-1);
    const [bytes, functions] = sums.get(area) || [0, 0];
    sums.set(area, [bytes + size, functions + 1]);
  });
  return [...sums].map(([area, sum]) => [area, ...sum]).sort((one, other) => other[1] - one[1]);
}
