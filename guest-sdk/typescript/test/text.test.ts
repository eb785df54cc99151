import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decode, encode, EncodingError, natively } from '../src/text.ts';

// Node 20 has neither; QuickJS has both.
Object.defineProperty(Uint8Array.prototype, 'toBase64', {
  value(this: Uint8Array) {
    return Buffer.from(this).toString('base64');
  },
  configurable: true,
});
Object.defineProperty(Uint8Array, 'fromBase64', {
  value: (text: string) => new Uint8Array(Buffer.from(text, 'base64')),
  configurable: true,
});

const TEXTS = [
  '',
  'plain',
  'Größe',
  '漢字',
  '😀',
  '\u0000\u007f\u0080\u07ff\u0800\uffff',
  'a%41b',
  '\ufeffmark',
  'x'.repeat(100_000),
  'ä😀'.repeat(50_000),
];

test('both ways of writing UTF-8 agree with the platform, in both directions', () => {
  for (const text of TEXTS) {
    const expected = new Uint8Array(Buffer.from(text));
    for (const way of [{ decode, encode }, natively]) {
      assert.deepEqual(new Uint8Array(way.encode(text)), expected);
      assert.equal(way.decode(expected), text);
    }
  }
});

test('half of a surrogate pair is written as a replacement character', () => {
  for (const way of [{ encode }, natively])
    assert.deepEqual([...way.encode('a\ud83d')], [0x61, 0xef, 0xbf, 0xbd]);
});

test('bytes that are not UTF-8 are refused', () => {
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]]) {
    for (const way of [{ decode }, natively])
      assert.throws(() => way.decode(Uint8Array.from(bytes)), EncodingError, String(bytes));
  }
});
