/** From one module to a component. */
import { BuildError } from './errors.mjs';
import { tool, wit } from './tools.mjs';

export async function componentOf(code, role) {
  const { componentize } = await tool('componentize-qjs');
  try {
    const { component } = await componentize({ witPath: wit(), jsSource: code, world: role, sync: true });
    return component;
  } catch (error) {
    throw new BuildError(`componentize-qjs: ${error.message}`);
  }
}
