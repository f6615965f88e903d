// Reads commands, one JSON object a line, from standard input, carries them out, and answers each with one line.
//
// The test that started the program decides what is recorded and when. It ends when its input ends.
'use strict';

const readline = require('node:readline');

/** Calls `handlers[command.do]` with each command. */
async function serve(handlers, end) {
  const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');
  say({ ready: true });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      say({ done: (await handlers[command.do](command)) ?? null });
    } catch (error) {
      say({ failed: String(error.stack ?? error) });
    }
  }
  await end();
}

module.exports = { serve };
