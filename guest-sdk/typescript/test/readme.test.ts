/** Each example of the README compiles, and its tests pass. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SDK = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(path.join(tmpdir(), 'sagabox-readme-'));
after(() => rmSync(folder, { recursive: true }));

const examples = [
  ...readFileSync(path.join(SDK, 'README.md'), 'utf8').matchAll(/^```ts\n([\s\S]*?)^```$/gm),
].map((match) => match[1]!);
const files = examples.map((_, index) => path.join(folder, `example-${index + 1}.ts`));
const run = (...args: string[]) => spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });

/** The `node_modules` with the SDK's own packages. */
const packages = createRequire(path.join(SDK, 'package.json'))
  .resolve('zod/package.json')
  .replace(/zod[/\\]package\.json$/, '');
symlinkSync(packages, path.join(folder, 'node_modules'));
writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
files.forEach((file, index) => writeFileSync(file, examples[index]!));

test('the examples compile', () => {
  assert.ok(examples.length >= 5);
  const paths = {
    '@sagabox/sdk': [path.join(SDK, 'src/index.ts')],
    '@sagabox/sdk/testing': [path.join(SDK, 'src/testing.ts')],
  };
  const options = {
    target: 'es2024',
    lib: ['es2024'],
    module: 'nodenext',
    strict: true,
    noUncheckedIndexedAccess: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    types: [],
    paths,
  };
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files }));
  const { stdout } = run(path.join(packages, 'typescript', 'bin', 'tsc'), '-p', folder, '--pretty', 'false');
  assert.equal(stdout, '');
});

files.forEach((file, index) => {
  test(`the tests of example ${index + 1} pass`, () => {
    const { status, stderr } = run('--import', path.join(SDK, 'register.mjs'), file);
    assert.equal(status, 0, stderr);
  });
});
