/** What a handler threw, as the host's failure. */

import { isAboutData, TransientError, textOf } from './errors.ts';
import { authorsFrames, authorsPlace } from './places.ts';
import type { WitFailure } from './wit.ts';

/**
 * The reason of a dead letter. An error that the author did not make on purpose has its kind and the
 * author's file and line in it.
 */
export function reasonOf(thrown: unknown): string {
  const text = textOf(thrown);
  if (isAboutData(thrown)) return text.toWellFormed();
  const place = authorsPlace(thrown);
  const kind =
    thrown instanceof Error && thrown.name !== 'Error' && text !== thrown.name ? `${thrown.name}: ` : '';
  return `${kind}${text}${place === undefined ? '' : ` (${place})`}`.toWellFormed();
}

export function failureOf(thrown: unknown): WitFailure {
  return { tag: thrown instanceof TransientError ? 'transient' : 'permanent', val: reasonOf(thrown) };
}

/** The lines for the log, if there is more to say than the reason does. */
export function traceOf(thrown: unknown): string | undefined {
  if (isAboutData(thrown)) return undefined;
  const frames = authorsFrames(thrown);
  return frames.length === 0
    ? undefined
    : `${reasonOf(thrown)}\n${frames.map((frame) => `    ${frame}`).join('\n')}`.toWellFormed();
}
