/** Randomness from the host's seed: the same in every retry and replay of one event. */

export type Seed = readonly [number, number, number, number];

/** The generator "sfc32", which passes the usual statistical tests and needs four numbers. */
export class Random {
  private a: number;
  private b: number;
  private c: number;
  private counter: number;

  constructor(seed: Seed) {
    [this.a, this.b, this.c, this.counter] = seed;
    for (let round = 0; round < 12; round += 1) this.uint32();
  }

  /** From 0 to below 1, as `Math.random`. */
  number(): number {
    return (this.uint32() * 0x200000 + (this.uint32() >>> 11)) / 2 ** 53;
  }

  /** A UUID, version 4. */
  uuid(): string {
    let hex = '';
    for (let part = 0; part < 4; part += 1) hex += this.uint32().toString(16).padStart(8, '0');
    const variant = ((parseInt(hex[16]!, 16) & 3) | 8).toString(16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  /** A whole number from 0 to 2^32 - 1. */
  uint32(): number {
    const sum = (this.a + this.b + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}

/** Before the first call, and while the plugin describes itself or migrates. */
const NO_SEED: Seed = [1, 2, 3, 4];
let callSeed: Seed = NO_SEED;
let callGenerator: Random | undefined;

/** Begins a call: whatever is random in it follows from this seed. */
export function beginCall(seed: Seed = NO_SEED): void {
  callSeed = seed;
  callGenerator = undefined;
}

/** The generator of the call, which `ctx.random`, `Math.random` and `crypto` share. */
export function callRandom(): Random {
  return (callGenerator ??= new Random(callSeed));
}

/** The seed as one number of 128 bits. QuickJS hands over a `u32` from 2^31 on as a negative number. */
export function seedAsBigInt(seed: Seed): bigint {
  return seed.reduce((all, part) => (all << 32n) | BigInt(part >>> 0), 0n);
}
