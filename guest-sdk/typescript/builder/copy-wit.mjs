/** Copies the WIT package into the SDK before it is packed. */
import { cp } from 'node:fs/promises';
import path from 'node:path';

import { SDK } from './tools.mjs';

await cp(path.join(SDK, '..', '..', 'wit', '0.1'), path.join(SDK, 'wit'), { recursive: true });
