// Protocol Buffers, as far as OTLP needs them: a writer. A message's length is written when it is known, into four bytes
// kept for it; decoders take such lengths as they take shorter ones.

const encoder = new TextEncoder();

export class Writer {
  constructor() {
    this.bytes = new Uint8Array(512);
    this.at = 0;
  }

  room(more) {
    if (this.at + more <= this.bytes.length) return;
    const bytes = new Uint8Array(Math.max(this.bytes.length * 2, this.at + more));
    bytes.set(this.bytes);
    this.bytes = bytes;
  }

  varint(value) {
    this.room(10);
    let left = value;
    if (left < 0 || left > 0x7fffffff) {
      left = BigInt.asUintN(64, BigInt(left));
      for (; left > 127n; left >>= 7n) this.bytes[this.at++] = Number(left & 127n) | 128;
      left = Number(left);
    }
    for (; left > 127; left >>>= 7) this.bytes[this.at++] = (left & 127) | 128;
    this.bytes[this.at++] = left;
  }

  /** A number that is written unless it is 0. */
  unsigned(field, value) {
    if (!value) return;
    this.varint(field << 3);
    this.varint(value);
  }

  fixed64(field, value) {
    this.varint((field << 3) | 1);
    this.room(8);
    new DataView(this.bytes.buffer).setBigUint64(this.at, value, true);
    this.at += 8;
  }

  fixed32(field, value) {
    this.varint((field << 3) | 5);
    this.room(4);
    new DataView(this.bytes.buffer).setUint32(this.at, value, true);
    this.at += 4;
  }

  double(field, value) {
    this.varint((field << 3) | 1);
    this.room(8);
    new DataView(this.bytes.buffer).setFloat64(this.at, value, true);
    this.at += 8;
  }

  raw(field, bytes) {
    this.varint((field << 3) | 2);
    this.varint(bytes.length);
    this.room(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  text(field, text) {
    if (text) this.raw(field, encoder.encode(text));
  }

  /** An identifier in hexadecimal; nothing when it is empty. */
  id(field, digits) {
    if (!digits) return;
    const bytes = new Uint8Array(digits.length / 2);
    for (let at = 0; at < bytes.length; at++) bytes[at] = parseInt(digits.substr(at * 2, 2), 16);
    this.raw(field, bytes);
  }

  message(field, write) {
    this.varint((field << 3) | 2);
    this.room(4);
    const start = (this.at += 4);
    write(this);
    let length = this.at - start;
    for (let at = start - 4; at < start; at++, length >>>= 7) this.bytes[at] = (length & 127) | (at < start - 1 ? 128 : 0);
  }

  done() {
    return this.bytes.subarray(0, this.at);
  }
}
