/** Why a handler does not decide. */

/** Retrying cannot help: the event becomes a dead letter. Any other error has the same effect. */
export class PermanentError extends Error {
  override name = 'PermanentError';
}

/** Retrying may help: the host calls the handler again, later. */
export class TransientError extends Error {
  override name = 'TransientError';
}

/** A value that does not fit its type, or cannot be written. `path` is a JSON Pointer. */
export class DataError extends Error {
  override name = 'DataError';
  constructor(
    readonly path: string,
    readonly problem: string,
  ) {
    super(path === '' ? problem : `\`${path}\` ${problem}`);
  }
}

/** Leaves a handler whose question is open. Authors never see it, unless they catch everything. */
export class Suspended extends Error {
  override name = 'Suspended';
  constructor() {
    super('the handler waits for an answer; do not catch this error');
  }
}

/** The text of whatever was thrown. */
export function textOf(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message === '' ? thrown.name : thrown.message;
  if (typeof thrown === 'object' && thrown !== null) {
    try {
      return JSON.stringify(thrown);
    } catch {
      return Object.prototype.toString.call(thrown);
    }
  }
  return String(thrown);
}

/** Errors whose text says what is wrong with the data: the place in the code adds nothing. */
export function isAboutData(thrown: unknown): boolean {
  return thrown instanceof PermanentError || thrown instanceof TransientError || thrown instanceof DataError;
}
