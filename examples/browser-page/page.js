// Ten ways to break, and a live look at the engine. The numbers come from `status()`; nothing here knows more.

import { init } from '/surgetank/index.js';
import { offlineStore } from '/surgetank/offline.js';

const { dsn } = await (await fetch('/server')).json();
const telemetry = init({ dsn, release: 'demonstration@1', offline: offlineStore() });

const server = (mode) => fetch(`/server?mode=${mode}`, { method: 'POST' });

/** Errors that come once in a while, so that a server's behaviour shows. */
const somethingToSend = () => {
  for (let number = 1; number <= 8; number++) setTimeout(() => telemetry.captureMessage(`message ${number}`, 'error'), number * 60);
};

const BREAKS = {
  'An error that nobody catches': () => setTimeout(() => JSON.parse('{')),
  'A promise that nobody waits for': () => void Promise.reject(new Error('nobody waits')),
  'Ten thousand errors in a loop': () => {
    for (let number = 0; number < 10_000; number++) telemetry.captureException(new Error('again'));
  },
  'A flood of five thousand logs': () => {
    for (let number = 0; number < 5_000; number++) telemetry.log('info', 'a line of a flood', { number });
  },
  'Two thousand spans': () => {
    for (let trace = 0; trace < 20; trace++) {
      const root = telemetry.startSpan('storm');
      for (let number = 1; number < 100; number++) root.startSpan('drop').end();
      root.end();
    }
  },
  'An event that is too large': () => telemetry.captureMessage('large', 'error', { extra: { text: 'x'.repeat(2_000_000) } }),
  'The server limits errors (429)': () => server('limiting').then(somethingToSend),
  'The server is overloaded (503)': () => server('overloaded').then(somethingToSend),
  'The server is silent': () => server('silent').then(somethingToSend),
  'The server is gone': () => server('gone').then(somethingToSend),
};

const element = (id) => document.getElementById(id);

for (const [name, act] of [...Object.entries(BREAKS), ['The server is well again', () => server('well')]]) {
  const button = document.createElement('button');
  button.textContent = name;
  if (!BREAKS[name]) button.className = 'mend';
  button.addEventListener('click', act);
  element('breaks').append(button);
}

const row = (cells) => {
  const line = document.createElement('tr');
  for (const cell of cells) line.insertCell().textContent = cell;
  return line;
};

const fact = (name, value) => {
  const line = document.createElement('div');
  for (const [kind, text] of [['dt', name], ['dd', value]]) {
    line.append(Object.assign(document.createElement(kind), { textContent: text }));
  }
  return line;
};

async function show() {
  const status = telemetry.status();
  const { mode, taken } = await (await fetch('/server')).json();
  const [to = { limited: [], breaker: 'closed', pausedMs: 0, retrying: 0, concurrency: 0 }] = status.destinations;
  element('health').textContent = element('health').className = status.state === 'running' ? status.health : status.state;
  element('causes').textContent = status.causes.join(', ') || status.why || 'nothing is wrong';
  element('fill').style.width = `${status.fillPermille / 10}%`;
  element('facts').replaceChildren(
    fact('memory in use', `${status.fillPermille / 10} %`),
    fact('downsample factor', status.factor),
    fact('requests in flight', `${status.inFlight} of ${to.concurrency}`),
    fact('bytes with keepalive', status.keepalive.bytes),
    fact('requests to be repeated', to.retrying),
    fact('circuit breaker', to.breaker),
    fact('pause', `${Math.ceil(to.pausedMs / 1000)} s`),
    fact('limited by the server', to.limited.join(', ') || 'nothing'),
    fact('the server', mode),
    fact('requests that it took', taken),
  );
  const sums = Object.entries(status.categories);
  element('sums').replaceChildren(...sums.map(([name, s]) => row([name, s.recorded, s.delivered, s.dropped, s.queued])));
  element('drops').replaceChildren(...status.dropped.map((d) => row([d.category, d.reason, d.quantity])));
  setTimeout(show, 250);
}

show();
