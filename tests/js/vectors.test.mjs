// The golden vectors, read by JavaScript: JSON.parse, and a MessagePack decoder written for this test alone,
// so that a fault in the encoder cannot be cancelled by the same fault in a decoder.
// Run with: node --test tests/js/vectors.test.mjs

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { inflateRawSync, constants } from "node:zlib";

const vectors = JSON.parse(readFileSync(new URL("../../protocol/vectors.json", import.meta.url), "utf8"));

// --- a MessagePack decoder: the formats the protocol allows, and a fault for every other -----------------

function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  let at = 0;

  function take(size) {
    if (at + size > bytes.length) throw new RangeError(`cut off at byte ${at}`);
    at += size;
    return at - size;
  }
  const uint = (size) => {
    const start = take(size);
    if (size === 1) return view.getUint8(start);
    if (size === 2) return view.getUint16(start);
    if (size === 4) return view.getUint32(start);
    return safe(view.getBigUint64(start));
  };
  const int = (size) => {
    const start = take(size);
    if (size === 1) return view.getInt8(start);
    if (size === 2) return view.getInt16(start);
    if (size === 4) return view.getInt32(start);
    return safe(view.getBigInt64(start));
  };
  function safe(big) {
    const number = Number(big);
    if (!Number.isSafeInteger(number)) throw new RangeError(`not a safe integer: ${big}`);
    return number;
  }
  function string(size) {
    const start = take(size);
    return utf8.decode(bytes.subarray(start, start + size));
  }
  function array(size) {
    return Array.from({ length: size }, value);
  }
  function map(size) {
    const made = {};
    for (let i = 0; i < size; i++) {
      const key = value();
      assert.equal(typeof key, "string", "a key is a string");
      assert.ok(!Object.hasOwn(made, key), `key ${key} comes twice`);
      made[key] = value();
    }
    return made;
  }
  function value() {
    const first = uint(1);
    if (first < 0x80) return first;
    if (first < 0x90) return map(first & 0x0f);
    if (first < 0xa0) return array(first & 0x0f);
    if (first < 0xc0) return string(first & 0x1f);
    if (first >= 0xe0) return first - 0x100;
    switch (first) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xca: return view.getFloat32(take(4));
      case 0xcb: return view.getFloat64(take(8));
      case 0xcc: return uint(1);
      case 0xcd: return uint(2);
      case 0xce: return uint(4);
      case 0xcf: return uint(8);
      case 0xd0: return int(1);
      case 0xd1: return int(2);
      case 0xd2: return int(4);
      case 0xd3: return int(8);
      case 0xd9: return string(uint(1));
      case 0xda: return string(uint(2));
      case 0xdb: return string(uint(4));
      case 0xdc: return array(uint(2));
      case 0xdd: return array(uint(4));
      case 0xde: return map(uint(2));
      case 0xdf: return map(uint(4));
      default: throw new TypeError(`format 0x${first.toString(16)} is not of this protocol`);
    }
  }

  const whole = value();
  assert.equal(at, bytes.length, "bytes are left over");
  return whole;
}

const hex = (text) => Buffer.from(text, "hex");

// --- messages and events --------------------------------------------------------------------------------

for (const list of ["messages", "events"]) {
  describe(list, () => {
    assert.ok(vectors[list].length > 10);
    for (const vector of vectors[list]) {
      test(vector.name, () => {
        assert.deepStrictEqual(JSON.parse(vector.json), vector.value);
        assert.deepStrictEqual(unpack(hex(vector.msgpack)), vector.value);
        assert.equal(vector.value.type, vector.type);
      });
    }
  });
}

describe("tolerated", () => {
  for (const vector of vectors.tolerated) {
    test(vector.name, () => {
      assert.deepStrictEqual(unpack(hex(vector.msgpack)), JSON.parse(vector.json));
    });
  }
});

// --- frames ---------------------------------------------------------------------------------------------

function parseFrame(bytes) {
  const opcode = bytes[0] & 0x0f;
  assert.equal(bytes[0] & 0xb0, 0x80, "one whole frame, RSV2 and RSV3 clear");
  assert.equal(bytes[1] & 0x80, 0, "a server does not mask");
  let size = bytes[1];
  let start = 2;
  if (size === 126) {
    size = bytes.readUInt16BE(2);
    start = 4;
    assert.ok(size > 125, "the shortest form of the length");
  } else if (size === 127) {
    size = Number(bytes.readBigUInt64BE(2));
    start = 10;
    assert.ok(size > 0xffff, "the shortest form of the length");
  }
  assert.equal(bytes.length, start + size);
  if (opcode >= 8) assert.ok(size <= 125, "a control frame is short");
  let payload = bytes.subarray(start);
  if (bytes[0] & 0x40) {
    const whole = Buffer.concat([payload, hex("0000ffff")]);
    payload = inflateRawSync(whole, { finishFlush: constants.Z_SYNC_FLUSH });
  }
  return { opcode, compressed: Boolean(bytes[0] & 0x40), payload };
}

describe("frames", () => {
  assert.ok(vectors.frames.length > 5);
  for (const vector of vectors.frames) {
    test(vector.name, () => {
      const payload = Buffer.concat(Array(vector.times).fill(hex(vector.payload)));
      const body = vector.body === null ? payload : hex(vector.body);
      const read = parseFrame(Buffer.concat([hex(vector.head), body]));
      assert.equal(read.opcode, vector.opcode);
      assert.equal(read.compressed, vector.compressed);
      assert.ok(read.payload.equals(payload));
      if (read.opcode === 8) {
        new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(2));
      }
    });
  }
});
