/** What packages expect to find beside the language itself, and QuickJS does not have. */

import type { Random } from './random.ts';
import { decode, encode } from './text.ts';

declare global {
  /** The part that a component has; the types of Node or of the browser add theirs. */
  interface Console {
    trace(...values: any[]): void;
    debug(...values: any[]): void;
    log(...values: any[]): void;
    info(...values: any[]): void;
    warn(...values: any[]): void;
    error(...values: any[]): void;
  }
  var console: Console;
}

/** Of UTF-8 alone; bytes that are not UTF-8 are an error. */
export const encodings = {
  TextEncoder: class {
    readonly encoding = 'utf-8';
    encode(text = ''): Uint8Array {
      return encode(String(text));
    }
  },
  TextDecoder: class {
    readonly encoding = 'utf-8';
    constructor(label = 'utf-8') {
      if (!/^utf-?8$/i.test(label))
        throw new RangeError(`the encoding ${label} is not known; a component decodes UTF-8`);
    }
    decode(bytes: ArrayBuffer | Uint8Array = new Uint8Array(0)): string {
      return decode(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes));
    }
  },
};

/** Ids from the host's seed, which are the same in every retry. They are no secrets. */
export function cryptoOf(random: () => Random) {
  return {
    randomUUID: () => random().uuid(),
    getRandomValues: <T extends { length: number; [index: number]: number }>(array: T): T => {
      for (let index = 0; index < array.length; index += 1) array[index] = random().uint32();
      return array;
    },
  };
}
