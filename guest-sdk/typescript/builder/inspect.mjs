/** Loads the plugin under Node: what its modules throw, and what its declaration lacks, is found here. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { bundleForNode } from './bundle.mjs';
import { BuildError } from './errors.mjs';

const ROLES = ['saga', 'reactor', 'enricher', 'process-manager'];

export async function inspect(project, work) {
  const { code, places } = await bundleForNode(project);
  const file = path.join(work, 'inspect.mjs');
  await writeFile(file, code);
  const { load, reasonOf } = await import(pathToFileURL(file));
  globalThis.__sagaboxPlaces = JSON.stringify(places);
  const entry = path.relative(project.folder, project.entry);
  let plugin;
  try {
    plugin = (await load()).default;
  } catch (error) {
    throw new BuildError(`${entry} cannot be loaded: ${reasonOf(error)}`);
  }
  if (plugin === undefined)
    throw new BuildError(`${entry} has no default export; write \`export default orders.handlers({ … })\``);
  if (!ROLES.includes(plugin?.role))
    throw new BuildError(
      `the default export of ${entry} is no plugin; write \`export default orders.handlers({ … })\``,
    );
  try {
    return { role: plugin.role, manifest: plugin.manifest() };
  } catch (error) {
    throw new BuildError(`${entry} cannot describe itself: ${reasonOf(error)}`);
  }
}
