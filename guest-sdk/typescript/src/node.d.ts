/** The part of Node that the test harness uses; a plugin itself has none of it. */
declare module 'node:assert/strict' {
  export function deepStrictEqual(actual: unknown, expected: unknown, message?: string): void;
  export class AssertionError extends Error {
    constructor(options: { message: string; actual?: unknown; expected?: unknown; operator?: string; stackStartFn?: Function });
  }
}
