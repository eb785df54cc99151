/** Finds the packages that the builder works with, and the files of the SDK. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { BuildError } from './errors.mjs';

/** The SDK's own directory. */
export const SDK = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** The `node_modules` that `sagabox build` has filled. */
const TOOLS =
  process.env.SAGABOX_NODE_MODULES && path.dirname(path.resolve(process.env.SAGABOX_NODE_MODULES));

function resolved(name, ...more) {
  const near = [...more, TOOLS, SDK].filter(Boolean);
  return resolvedIn(near, name) ?? resolvedIn(fetched(), name);
}

function resolvedIn(folders, name) {
  for (const folder of folders) {
    try {
      return createRequire(path.join(folder, 'package.json')).resolve(name);
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND' && error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error;
    }
  }
  return undefined;
}

/** What `sagabox build` has fetched for this version of the SDK: with it, native tests run in a new project. */
function fetched() {
  const { SAGABOX_TOOLCHAINS, XDG_CACHE_HOME } = process.env;
  const cache =
    SAGABOX_TOOLCHAINS ||
    path.join(XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'sagabox', 'toolchains');
  const lock = path.join(SDK, 'package-lock.json');
  if (!existsSync(cache) || !existsSync(lock)) return [];
  const own = readFileSync(lock, 'utf8');
  const folders = readdirSync(cache)
    .filter((name) => name.startsWith('typescript-'))
    .map((name) => path.join(cache, name));
  const isSame = (folder) =>
    existsSync(path.join(folder, 'package-lock.json')) &&
    readFileSync(path.join(folder, 'package-lock.json'), 'utf8') === own;
  return folders.filter(isSame);
}

/** Imports a package of which the SDK needs exactly the version in its package.json. */
export async function tool(name) {
  const found = resolved(name);
  if (found === undefined) {
    throw new BuildError(
      `the package ${name} is not installed; run \`npm ci --omit=dev\` in ${SDK}, or set SAGABOX_NODE_MODULES to a node_modules that has it`,
    );
  }
  const module = await import(pathToFileURL(found));
  return module.default ?? module;
}

/** The compiler's program, of the project or of the SDK; undefined if neither has one. */
export function typescript(project) {
  const manifest = resolved('typescript/package.json', project);
  const program = manifest && path.join(path.dirname(manifest), 'bin', 'tsc');
  return program !== undefined && existsSync(program) ? program : undefined;
}

/** The WIT package: in the published SDK its own copy, in a checkout the original. */
export function wit() {
  const places = [path.join(SDK, 'wit'), path.join(SDK, '..', '..', 'wit', '0.1')];
  const found = places.find((place) => existsSync(path.join(place, 'types.wit')));
  if (found === undefined) throw new BuildError(`the WIT files are not in ${places.join(' or ')}`);
  return found;
}
