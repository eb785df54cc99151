/** Hooks of Node's module loader: TypeScript files, and the SDK that these hooks belong to. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { SDK, tool } from './tools.mjs';

const OWN = { '@sagabox/sdk': 'index.ts', '@sagabox/sdk/testing': 'testing.ts' };
const TYPESCRIPT = /\.m?ts$/;

export async function resolve(specifier, context, next) {
  if (Object.hasOwn(OWN, specifier))
    return { url: pathToFileURL(path.join(SDK, 'src', OWN[specifier])).href, shortCircuit: true };
  const found =
    specifier.startsWith('.') && context.parentURL?.startsWith('file:')
      ? source(new URL(specifier, context.parentURL))
      : undefined;
  return found === undefined ? next(specifier, context) : { url: found, shortCircuit: true };
}

/** `./order` and `./order.js` mean `./order.ts`, if there is no such file. */
function source(url) {
  const file = fileURLToPath(url);
  if (existsSync(file) && path.extname(file) !== '') return undefined;
  const found = [`${file}.ts`, file.replace(/\.js$/, '.ts'), `${file}.js`, path.join(file, 'index.ts')].find(
    existsSync,
  );
  return found && pathToFileURL(found).href;
}

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !TYPESCRIPT.test(new URL(url).pathname)) return next(url, context);
  const file = fileURLToPath(url);
  const { transform } = await tool('esbuild');
  const options = {
    loader: 'ts',
    format: 'esm',
    target: 'es2024',
    sourcemap: 'inline',
    sourcefile: file,
    charset: 'utf8',
  };
  const { code } = await transform(await readFile(file, 'utf8'), options);
  return { format: 'module', source: code, shortCircuit: true };
}
