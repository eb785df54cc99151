/** `Date` and `Math.random` during a native test, as the host gives them to a component. */

import { callRandom } from './random.ts';

/** Calls a handler at this time of the host's clock. */
export function atTime<T>(now: number, action: () => T): T {
  const [RealDate, realRandom] = [Date, Math.random];
  class TestDate extends RealDate {
    constructor(...args: [] | [number | string | Date]) {
      super(...((args.length === 0 ? [now] : args) as [number]));
    }
    static override now(): number {
      return now;
    }
  }
  globalThis.Date = TestDate as DateConstructor;
  Math.random = () => callRandom().number();
  try {
    return action();
  } finally {
    globalThis.Date = RealDate;
    Math.random = realRandom;
  }
}
