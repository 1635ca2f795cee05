/** Prints the config's JSON Schema; the package ships the output as config.schema.json. */
import { configJsonSchema } from '../src/config/json-schema.ts';

process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
