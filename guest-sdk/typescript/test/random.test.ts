import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Random, seedAsBigInt } from '../src/random.ts';

test('the seed is one number, whether its parts come with a sign or without', () => {
  const seed = seedAsBigInt([0x6e980329, 0x3d889da8, 0x592a4a73, 0xbb1c4d49]);
  assert.equal(seed.toString(16), '6e9803293d889da8592a4a73bb1c4d49');
  assert.equal(seedAsBigInt([0x6e980329, 0x3d889da8, 0x592a4a73, 0xbb1c4d49 | 0]), seed);
});

test('the same seed gives the same numbers, and another one others', () => {
  const numbers = (random: Random) => Array.from({ length: 1_000 }, () => random.number());
  const [one, same, other] = [
    numbers(new Random([1, 2, 3, 4])),
    numbers(new Random([1, 2, 3, 4])),
    numbers(new Random([-1, 2, 3, 4])),
  ];
  assert.deepEqual(one, same);
  assert.notDeepEqual(one, other);
  assert.ok(one.every((number) => number >= 0 && number < 1));
  const mean = one.reduce((sum, number) => sum + number, 0) / one.length;
  assert.ok(Math.abs(mean - 0.5) < 0.05, String(mean));
});

test('ids are UUIDs of version 4', () => {
  const random = new Random([0, 0, 0, 0]);
  const ids = new Set(Array.from({ length: 1_000 }, () => random.uuid()));
  assert.equal(ids.size, 1_000);
  for (const id of ids)
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
