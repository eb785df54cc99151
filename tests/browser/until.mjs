// Waiting for a condition. Tests wait for nothing else.

import { setTimeout as pause } from "node:timers/promises";

/** A condition that does not hold after this time does not come to hold. */
export const SOON = 30_000;
/** Between two looks. */
const STEP = 50;

/**
 * What the function returns first that is neither false nor nothing. An error of its last look is in
 * the error that says that the time is over.
 */
export async function until(what, look) {
  const end = Date.now() + SOON;
  let last;
  while (Date.now() < end) {
    try {
      const found = await look();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await pause(STEP);
  }
  throw new Error(`waited ${SOON / 1000} s: ${what}`, { cause: last });
}
