/**
 * Promises in a component. No call of the host waits, so what comes after an `await`, or in a `then`,
 * never happens: a handler that forgets one would lose a part of its decision silently.
 *
 * The builder writes asynchronous functions with `new Promise`, so this class sees all promises.
 */

/** The first promise of the call that is under way, as an error with the place where it was made. */
let made: Error | undefined;

export class SeenPromise<T> extends globalThis.Promise<T> {
  constructor(
    executor: (resolve: (value: T | PromiseLike<T>) => void, reject: (reason?: any) => void) => void,
  ) {
    super(executor);
    made ??= new Error(
      'a promise is made here, and a handler cannot wait for it; decide at once, and ask with ctx.lookup and ctx.stream',
    );
  }
}

/** Forgets the promises of the call before, and those that modules make while they load. */
export function beginPromises(): void {
  made = undefined;
}

/** Throws if the call has made a promise. */
export function refusePromises(): void {
  if (made !== undefined) throw made;
}
