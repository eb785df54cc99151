#!/usr/bin/env node
/**
 * Builds a plugin: `node build.mjs SOURCE_DIR --out FILE.wasm --work DIR [--no-check]`.
 *
 * It checks the types, if the project has a tsconfig.json and TypeScript is installed; bundles the modules;
 * loads them to learn the role; and makes the component. Errors name the author's file and line.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { bundle } from './builder/bundle.mjs';
import { checkTypes } from './builder/check.mjs';
import { componentOf } from './builder/componentize.mjs';
import { BuildError } from './builder/errors.mjs';
import { inspect } from './builder/inspect.mjs';
import { projectOf } from './builder/project.mjs';

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: 'string' },
      work: { type: 'string' },
      'no-check': { type: 'boolean', default: false },
    },
  });
  const [source] = positionals;
  if (source === undefined || values.out === undefined || positionals.length > 1) {
    throw new BuildError('usage: build.mjs SOURCE_DIR --out FILE.wasm [--work DIR] [--no-check]');
  }
  const out = path.resolve(values.out);
  const project = await projectOf(path.resolve(source));
  const work = path.resolve(
    values.work ?? path.join(path.dirname(out), '.work', project.package.name ?? 'plugin'),
  );
  await mkdir(work, { recursive: true });
  await mkdir(path.dirname(out), { recursive: true });
  if (!values['no-check']) await checkTypes(project, work);
  const { role } = await inspect(project, work);
  const code = await bundle(project, role);
  await writeFile(path.join(work, 'plugin.js'), code);
  await writeFile(out, await componentOf(code, role));
}

try {
  await main();
} catch (error) {
  const isExpected = error instanceof BuildError || error?.code?.startsWith?.('ERR_PARSE_ARGS');
  process.stderr.write(`${isExpected ? `error: ${error.message}` : error.stack}\n`);
  process.exitCode = 1;
}
// A plugin's module can have started a timer, which would keep the process alive.
process.exit();
