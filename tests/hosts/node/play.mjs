// Plays tapes (tests/hosts/src/tape.rs) on a module. `play` needs nothing of Node.js, so a browser can use it as well;
// from the command line: node play.mjs MODULE TAPE RESULTS [TAPE RESULTS ...]

export function play(module, functions, tape) {
  const { memory, ...exports } = new WebAssembly.Instance(module).exports;
  const view = new DataView(tape.buffer, tape.byteOffset, tape.byteLength);
  const chunks = [];
  let at = 0;
  const u32 = () => view.getUint32((at += 4) - 4, true);
  while (at < tape.length) {
    const name = functions[tape[at++]];
    const numbers = [];
    for (let left = tape[at++]; left > 0; left--) {
      const width = tape[at++];
      const value = view.getBigInt64((at += 8) - 8, true);
      numbers.push(width === 4 ? Number(value) : value);
    }
    const taken = u32();
    const length = u32();
    const input = exports.surgetank_input() >>> 0;
    new Uint8Array(memory.buffer).set(tape.subarray(at, at + length), input);
    at += length;
    const value = BigInt(exports[`surgetank_${name}`](...numbers));
    const bytes = taken === 0xffffffff ? Number(value > 0n ? value : 0n) : taken;
    const output = exports.surgetank_output() >>> 0;
    const head = new DataView(new ArrayBuffer(12));
    head.setBigInt64(0, value, true);
    head.setUint32(8, bytes, true);
    chunks.push(new Uint8Array(head.buffer), new Uint8Array(memory.buffer).slice(output, output + bytes));
  }
  return chunks;
}

if (typeof process !== 'undefined' && process.argv[1]?.endsWith('play.mjs')) {
  const fs = await import('node:fs');
  const [path, list, ...files] = process.argv.slice(2);
  const module = new WebAssembly.Module(fs.readFileSync(path));
  for (let at = 0; at < files.length; at += 2) {
    const results = play(module, list.split(','), fs.readFileSync(files[at]));
    fs.writeFileSync(files[at + 1], Buffer.concat(results));
  }
}
