/** Asks the schema what it wants at a path, for messages: which keys, which kind of value. */
import {
  $ZodArray,
  $ZodBoolean,
  $ZodDefault,
  $ZodEnum,
  $ZodLiteral,
  $ZodNumber,
  $ZodObject,
  $ZodOptional,
  $ZodPipe,
  $ZodPrefault,
  $ZodRecord,
  $ZodString,
  type $ZodType,
  $ZodUnion,
} from 'zod/v4/core';
import { configSchema } from './schema.ts';

/** The kinds of value that a message tells apart. */
export type Wanted = 'text' | 'number' | 'boolean' | 'list' | 'mapping' | 'choice' | 'other';

/** Takes off defaults, optionality and transforms: what the user writes. */
function written(schema: $ZodType): $ZodType {
  if (schema instanceof $ZodOptional || schema instanceof $ZodDefault || schema instanceof $ZodPrefault)
    return written(schema._zod.def.innerType);
  return schema instanceof $ZodPipe ? written(schema._zod.def.in) : schema;
}

/** The alternatives of a union, flat; of anything else, itself. */
function alternatives(schema: $ZodType): $ZodType[] {
  const core = written(schema);
  return core instanceof $ZodUnion ? core._zod.def.options.flatMap(alternatives) : [core];
}

function step(schema: $ZodType, key: PropertyKey): $ZodType[] {
  return alternatives(schema).flatMap((option) => {
    if (option instanceof $ZodObject) {
      const shape = option._zod.def.shape;
      const inner = Object.hasOwn(shape, key) ? shape[String(key)] : undefined;
      return inner ? [inner] : [];
    }
    if (option instanceof $ZodArray) return [option._zod.def.element];
    return option instanceof $ZodRecord ? [option._zod.def.valueType] : [];
  });
}

function schemasAt(path: readonly PropertyKey[]): $ZodType[] {
  return path.reduce<$ZodType[]>((schemas, key) => schemas.flatMap((s) => step(s, key)), [configSchema]);
}

/** The keys that a mapping at `path` may have, over all alternatives. */
export function keysAt(path: readonly PropertyKey[]): string[] {
  const keys = schemasAt(path)
    .flatMap(alternatives)
    .flatMap((option) => (option instanceof $ZodObject ? Object.keys(option._zod.def.shape) : []));
  return [...new Set(keys)];
}

/** The words that may stand at `path` where it is a choice, over all alternatives. */
export function wordsAt(path: readonly PropertyKey[]): string[] {
  const words = schemasAt(path)
    .flatMap(alternatives)
    .flatMap((option): unknown[] => {
      if (option instanceof $ZodEnum) return Object.values(option._zod.def.entries);
      return option instanceof $ZodLiteral ? option._zod.def.values : [];
    });
  return words.filter((word) => typeof word === 'string');
}

/** The kinds of value that are allowed at `path`. */
export function wantedAt(path: readonly PropertyKey[]): Wanted[] {
  return schemasAt(path).flatMap(alternatives).map(wantedBy);
}

function wantedBy(schema: $ZodType): Wanted {
  if (schema instanceof $ZodString) return 'text';
  if (schema instanceof $ZodNumber) return 'number';
  if (schema instanceof $ZodBoolean) return 'boolean';
  if (schema instanceof $ZodArray) return 'list';
  if (schema instanceof $ZodObject || schema instanceof $ZodRecord) return 'mapping';
  return schema instanceof $ZodEnum || schema instanceof $ZodLiteral ? 'choice' : 'other';
}
