/** Runs the TypeScript compiler over the project, if there is one. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';

import { BuildError } from './errors.mjs';
import { SDK, typescript } from './tools.mjs';

export async function checkTypes(project, work) {
  const own = path.join(project.folder, 'tsconfig.json');
  const compiler = typescript(project.folder);
  if (!existsSync(own) || compiler === undefined) return;
  const config = path.join(work, 'tsconfig.json');
  await writeFile(config, JSON.stringify(configOf(project, own)));
  const { status, stdout, stderr, error } = spawnSync(
    process.execPath,
    [compiler, '-p', config, '--pretty', 'false'],
    { cwd: project.folder, encoding: 'utf8' },
  );
  if (error !== undefined)
    throw new BuildError(`the TypeScript compiler cannot be started: ${error.message}`);
  if (status !== 0) throw new BuildError(`the types do not fit\n${(stdout + stderr).trim()}`);
}

/** The project's settings, and the SDK that builds: a project needs no installed copy of it. */
function configOf({ entry }, own) {
  const declarations = path.join(SDK, 'dist', 'index.d.ts');
  const sdk = existsSync(declarations) ? declarations : path.join(SDK, 'src', 'index.ts');
  return {
    extends: own,
    compilerOptions: {
      noEmit: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true,
      paths: { '@sagabox/sdk': [sdk], '@sagabox/sdk/*': [sdk.replace(/index(\.d)?\.ts$/, '*$1.ts')] },
      // A component has nothing of Node or of a browser.
      types: [],
    },
    files: [entry],
    include: [],
  };
}
