/** The builder, on small projects: what it makes, and what it says of mistakes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SDK = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(path.join(tmpdir(), 'sagabox-sdk-'));
after(() => rmSync(folder, { recursive: true }));

const PACKAGE = '{"name":"@shop/orders","version":"1.2.3","description":"Orders","type":"module"}';
const TSCONFIG =
  '{"compilerOptions":{"target":"es2024","lib":["es2024"],"module":"nodenext","strict":true,"types":[]}}';
const SAGA = `import { event, message, saga, t } from '@sagabox/sdk';
const orders = saga({ events: { A: event({ id: t.string }, '/id') }, commands: { B: message({ id: t.string }) } });
export default orders.handlers({ on: { A: ({ data }, ctx) => ctx.send('B', { id: data.id }) } });
`;

let count = 0;

function build(files: Record<string, string>, ...args: string[]) {
  count += 1;
  const project = path.join(folder, `project-${count}`);
  for (const [name, content] of Object.entries({ 'package.json': PACKAGE, ...files })) {
    mkdirSync(path.dirname(path.join(project, name)), { recursive: true });
    writeFileSync(path.join(project, name), content);
  }
  const out = path.join(folder, `${count}.wasm`);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(SDK, 'build.mjs'), project, '--out', out, '--work', path.join(folder, 'work'), ...args],
    { encoding: 'utf8' },
  );
  assert.equal(stdout, '');
  return { status, stderr, component: () => readFileSync(out) };
}

function refused(files: Record<string, string>, expected: RegExp) {
  const { status, stderr } = build(files);
  assert.equal(status, 1, stderr);
  assert.match(stderr, expected);
}

test('a project becomes a component', () => {
  const { status, stderr, component } = build({ 'src/index.ts': SAGA, 'tsconfig.json': TSCONFIG });
  assert.equal(status, 0, stderr);
  // The magic number of WebAssembly, and the version of components.
  assert.deepEqual([...component().subarray(0, 8)], [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]);
  assert.ok(component().includes('sagabox:plugin/saga-handler@0.1.0'));
});

test('plain JavaScript is built, and the module can have another name', () => {
  assert.equal(
    build({ 'plugin.js': SAGA, 'package.json': PACKAGE.replace('}', ',"main":"plugin.js"}') }).status,
    0,
  );
});

test('a type error stops the build with its place', () => {
  const files = { 'src/index.ts': SAGA.replace("send('B'", "send('Bb'"), 'tsconfig.json': TSCONFIG };
  refused(files, /error: the types do not fit\nsrc\/index\.ts\(3,71\): error TS2345.*"Bb"/);
  assert.equal(build(files, '--no-check').status, 0);
});

test('what a module throws while it loads is reported with its place', () => {
  refused(
    { 'src/index.ts': `${SAGA}\nload();\nfunction load() {\n  throw new TypeError('boom');\n}` },
    /error: src\/index\.ts cannot be loaded: TypeError: boom \(src\/index\.ts:7:9\)/,
  );
  refused(
    { 'src/index.ts': SAGA.replace('A: ({ data }', 'Z: ({ data }') },
    /cannot be loaded: TypeError: `A` is declared and has no handler in `on` \(src\/index\.ts:3:23\)/,
  );
});

test('a plugin that cannot describe itself is refused', () => {
  refused(
    { 'src/index.ts': SAGA.replace('saga({', "saga({ name: 'Orders',") },
    /cannot describe itself: TypeError: the plugin's name `Orders` is invalid/,
  );
});

test('a module without a plugin is refused with what to write', () => {
  refused(
    { 'src/index.ts': 'export const a = 1;' },
    /src\/index\.ts has no default export; write `export default orders\.handlers/,
  );
  refused({ 'src/index.ts': 'export default {};' }, /the default export of src\/index\.ts is no plugin/);
  refused({}, /has none of src\/index\.ts, .*; name the plugin's module in package\.json as "main"/);
  refused({ 'package.json': '{' }, /package\.json: /);
});

test('what a component cannot have is refused with its place', () => {
  refused(
    { 'src/index.ts': `import fs from 'node:fs';\n${SAGA}fs;` },
    /a plugin has no node:fs: it runs without files.*\n {2}at src\/index\.ts:1:16/,
  );
  refused(
    { 'src/index.ts': `import { given } from '@sagabox/sdk/testing';\n${SAGA}given;` },
    /cannot import @sagabox\/sdk\/testing/,
  );
  refused({ 'src/index.ts': `import x from 'not-installed';\n${SAGA}x;` }, /not-installed/);
  refused({ 'src/index.ts': 'const = 1;' }, /at src\/index\.ts:1:7\n {4}const = 1;/);
});
