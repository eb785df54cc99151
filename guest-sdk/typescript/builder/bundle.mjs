/** Makes one module of the plugin, its packages and the SDK. */
import path from 'node:path';

import { BuildError } from './errors.mjs';
import { placesOf } from './places.mjs';
import { SDK, tool } from './tools.mjs';

const EXPORTS = {
  saga: ['sagaHandler', 'decider'],
  reactor: ['reactorHandler', 'decider'],
  enricher: ['enricherHandler', 'enricher'],
  'process-manager': ['processManagerHandler', 'process'],
};

const source = (file) => JSON.stringify(path.join(SDK, 'src', file));

/** The code of the component, with the table of places behind it. */
export async function bundle(project, role) {
  const [name, part] = EXPORTS[role];
  const { code, map } = await run(project, [
    `import { exportsOf } from ${source('component.ts')};`,
    `import plugin from ${JSON.stringify(project.entry)};`,
    `export const ${name} = exportsOf(plugin).${part};`,
  ]);
  const places = JSON.stringify(JSON.stringify(placesOf(map, project)));
  return `${code}\nglobalThis.__sagaboxPlaces = ${places};\n`;
}

/** The same plugin for Node: its exports load the plugin, and read its errors. */
export async function bundleForNode(project) {
  const { code, map } = await run(project, [
    `export { reasonOf } from ${source('failure.ts')};`,
    `export const load = () => import(${JSON.stringify(project.entry)});`,
  ]);
  return { code, places: placesOf(map, project) };
}

async function run(project, lines) {
  const { build, formatMessages } = await tool('esbuild');
  const { name, version, description } = project.package;
  const options = {
    stdin: { contents: lines.join('\n'), resolveDir: project.folder, sourcefile: 'sagabox-entry.js' },
    absWorkingDir: project.folder,
    outfile: path.join(project.folder, 'plugin.js'),
    write: false,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['import', 'module'],
    target: 'es2024',
    // So that promises.ts sees what waits: the engine's own asynchronous functions show no promise.
    supported: { 'async-await': false, 'async-generator': false, 'for-await': false },
    charset: 'utf8',
    legalComments: 'none',
    sourcemap: 'external',
    sourcesContent: false,
    external: ['sagabox:*'],
    banner: { js: `globalThis.__sagaboxPackage = ${JSON.stringify({ name, version, description })};` },
    plugins: [ownModules()],
    logLevel: 'silent',
  };
  try {
    const { outputFiles, warnings } = await build(options);
    for (const text of await formatMessages(warnings, { kind: 'warning', color: false }))
      process.stderr.write(text);
    const file = (end) => outputFiles.find((output) => output.path.endsWith(end)).text;
    return { code: file('.js'), map: JSON.parse(file('.map')) };
  } catch (error) {
    if (error.errors === undefined) throw error;
    throw new BuildError(error.errors.map((one) => described(one, project)).join('\n'));
  }
}

/** The SDK is the one that builds, wherever the project has it from, if it has it at all. */
function ownModules() {
  return {
    name: 'sagabox',
    setup(build) {
      build.onResolve({ filter: /^@sagabox\/sdk$/ }, () => ({ path: path.join(SDK, 'src', 'index.ts') }));
      build.onResolve({ filter: /^@sagabox\/sdk\/testing$/ }, () => ({
        errors: [{ text: 'a plugin cannot import @sagabox/sdk/testing, which is for its tests' }],
      }));
      build.onResolve({ filter: /^node:/ }, ({ path: name }) => ({
        errors: [
          {
            text: `a plugin has no ${name}: it runs without files, network and processes, and asks the host with ctx.lookup`,
          },
        ],
      }));
    },
  };
}

function described({ text, location }, project) {
  if (location === null) return text;
  const file = path.relative(project.folder, path.resolve(project.folder, location.file));
  return `${text}\n  at ${file}:${location.line}:${location.column + 1}\n    ${location.lineText.trim()}`;
}
