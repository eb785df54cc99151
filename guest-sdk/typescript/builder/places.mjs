/** From a source map to the table by which the SDK finds the author's file and line. */
import path from 'node:path';

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** The author's own files alone: packages and the SDK would make the table many times larger. */
export function placesOf({ sources, mappings }, { folder }) {
  const own = sources.map((source) => path.relative(folder, path.resolve(folder, source)));
  const isOwn = own.map(
    (source) =>
      !source.startsWith('..') &&
      !source.split(path.sep).includes('node_modules') &&
      source !== 'sagabox-entry.js',
  );
  const files = [];
  const numberOf = new Map();
  const fileOf = (source) => {
    if (!numberOf.has(source)) numberOf.set(source, files.push(own[source].split(path.sep).join('/')) - 1);
    return numberOf.get(source);
  };
  const lines = {};
  let [source, line, column] = [0, 0, 0];
  mappings.split(';').forEach((segments, index) => {
    let generated = 0;
    for (const segment of segments.split(',').filter((text) => text !== '')) {
      const [first, ...rest] = decoded(segment);
      generated += first;
      if (rest.length < 3) continue;
      source += rest[0];
      line += rest[1];
      column += rest[2];
      if (isOwn[source]) (lines[index + 1] ??= []).push([generated, fileOf(source), line + 1, column + 1]);
    }
  });
  return { files, lines };
}

/** The numbers of one segment, in base 64 with a variable number of digits. */
function decoded(segment) {
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    value += (digit & 31) << shift;
    shift += 5;
    if ((digit & 32) !== 0) continue;
    numbers.push((value & 1) === 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}
