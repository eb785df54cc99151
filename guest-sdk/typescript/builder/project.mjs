/** What the project's files say. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { BuildError } from './errors.mjs';

const ENTRIES = [
  'src/index.ts',
  'src/index.js',
  'src/index.mjs',
  'src/plugin.ts',
  'src/plugin.js',
  'index.ts',
  'index.js',
  'index.mjs',
];

export async function projectOf(folder) {
  const file = path.join(folder, 'package.json');
  if (!existsSync(file)) throw new BuildError(`${folder} has no package.json`);
  let content;
  try {
    content = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new BuildError(`${file}: ${error.message}`);
  }
  return { folder, package: content, entry: entryOf(folder, content) };
}

function entryOf(folder, { main }) {
  if (main !== undefined) {
    const entry = path.join(folder, main);
    if (existsSync(entry)) return entry;
    throw new BuildError(`${path.join(folder, 'package.json')}: the file of "main" (${main}) does not exist`);
  }
  const found = ENTRIES.find((entry) => existsSync(path.join(folder, entry)));
  if (found !== undefined) return path.join(folder, found);
  throw new BuildError(
    `${folder} has none of ${ENTRIES.join(', ')}; name the plugin's module in package.json as "main"`,
  );
}
