/** What is wrong with the project or the machine, as opposed to a mistake in the builder. */
export class BuildError extends Error {}
