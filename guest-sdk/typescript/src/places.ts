/**
 * Where an error was made in the author's files: the lines of a stack trace name the bundle, and the
 * table that the builder puts behind it leads back to the sources.
 */

/** Of each line of the bundle that comes from an author's file: columns with file, line and column. */
export interface Table {
  readonly files: readonly string[];
  readonly lines: {
    readonly [line: string]: readonly (readonly [
      column: number,
      file: number,
      line: number,
      sourceColumn: number,
    ])[];
  };
}

interface PlacesGlobal {
  __sagaboxPlaces?: string;
}

const FRAME = /^\s*at (?:(.*?) \()?.*:(\d+):(\d+)\)?\s*$/;

let table: Table | undefined;

function currentTable(): Table | undefined {
  const text = (globalThis as PlacesGlobal).__sagaboxPlaces;
  if (table === undefined && text !== undefined) table = JSON.parse(text) as Table;
  return table;
}

/** The lines of an error's stack that are the author's own, such as `at check (src/order.ts:12:9)`. */
export function authorsFrames(error: unknown, places: Table | undefined = currentTable()): string[] {
  if (places === undefined || !(error instanceof Error) || typeof error.stack !== 'string') return [];
  let isBelow = false;
  return error.stack.split('\n').flatMap((frame) => {
    const match = FRAME.exec(frame);
    // The constructor of an author's own kind of error is not where it was thrown.
    if (match !== null && !isBelow && isConstructor(match[1], error)) return [];
    isBelow = match !== null;
    const place = match === null ? undefined : placeOf(places, Number(match[2]), Number(match[3]));
    if (place === undefined) return [];
    const name = match?.[1];
    return [name === undefined || name === '<anonymous>' ? `at ${place}` : `at ${name} (${place})`];
  });
}

function isConstructor(name: string | undefined, error: Error): boolean {
  return name !== undefined && name.replace(/^new /, '') === error.constructor.name;
}

/** `src/order.ts:12:9`, the author's innermost place. */
export function authorsPlace(error: unknown, places?: Table): string | undefined {
  const frame = authorsFrames(error, places)[0];
  return frame && (/\((.*)\)$/.exec(frame)?.[1] ?? frame.replace(/^at /, ''));
}

function placeOf(places: Table, line: number, column: number): string | undefined {
  const segments = places.lines[line];
  if (segments === undefined) return undefined;
  // Engines count columns from 1, source maps from 0.
  let found = segments[0]!;
  for (const segment of segments) {
    if (segment[0] > column - 1) break;
    found = segment;
  }
  return `${places.files[found[1]]}:${found[2]}:${found[3]}`;
}
