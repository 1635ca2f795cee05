/**
 * Fits a config that an older mooring accepted to today's shape. Only shapes are compared, not rules: a rule that has
 * become stricter since must not take a working node down. Keys that are gone are dropped, new ones get their default.
 */
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
  safeParse,
} from 'zod/v4/core';
import { type Config, configSchema } from './schema.ts';

type Fit = { readonly fits: true; readonly value: unknown } | { readonly fits: false };
const misfit: Fit = { fits: false };
const fit = (value: unknown): Fit => ({ fits: true, value });

/** The stored config in today's shape, or undefined where something in it has another kind, or a new key has no default. */
export function adoptStoredConfig(stored: unknown): Config | undefined {
  const result = adopt(configSchema, stored);
  return result.fits && isConfig(result.value) ? result.value : undefined;
}

/** The walk below has compared every part with the schema's output. */
function isConfig(value: unknown): value is Config {
  return isRecord(value) && ['zerotier', 'k3s', 'ingress', 'node', 'health'].every((key) => key in value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Compares with what the schema puts out, so defaults are looked through and of a pipe the end counts. */
function adopt(schema: $ZodType, value: unknown): Fit {
  if (schema instanceof $ZodOptional)
    return value === undefined ? fit(undefined) : adopt(schema._zod.def.innerType, value);
  if (schema instanceof $ZodDefault || schema instanceof $ZodPrefault) {
    if (value !== undefined) return adopt(schema._zod.def.innerType, value);
    const filled = safeParse(schema, undefined);
    return filled.success ? fit(filled.data) : misfit;
  }
  if (schema instanceof $ZodPipe) return adopt(schema._zod.def.out, value);
  if (schema instanceof $ZodUnion) {
    const fits = schema._zod.def.options.map((option) => adopt(option, value));
    return fits.find((option) => option.fits) ?? misfit;
  }
  if (schema instanceof $ZodObject) return adoptObject(schema, value);
  if (schema instanceof $ZodArray)
    return Array.isArray(value) ? adoptList(schema._zod.def.element, value) : misfit;
  if (schema instanceof $ZodRecord)
    return isRecord(value) ? adoptRecord(schema._zod.def.valueType, value) : misfit;
  if (schema instanceof $ZodEnum)
    return Object.values(schema._zod.def.entries).some((v) => v === value) ? fit(value) : misfit;
  if (schema instanceof $ZodLiteral)
    return schema._zod.def.values.some((v) => v === value) ? fit(value) : misfit;
  if (schema instanceof $ZodString) return typeof value === 'string' ? fit(value) : misfit;
  if (schema instanceof $ZodNumber) return typeof value === 'number' ? fit(value) : misfit;
  if (schema instanceof $ZodBoolean) return typeof value === 'boolean' ? fit(value) : misfit;
  return misfit;
}

function adoptObject(schema: $ZodObject, value: unknown): Fit {
  if (!isRecord(value)) return misfit;
  const parts = Object.entries(schema._zod.def.shape).map(([key, inner]) => ({
    key,
    part: adopt(inner, Object.hasOwn(value, key) ? value[key] : undefined),
  }));
  const entries: [string, unknown][] = [];
  for (const { key, part } of parts) {
    if (!part.fits) return misfit;
    if (part.value !== undefined) entries.push([key, part.value]);
  }
  return fit(Object.fromEntries(entries));
}

function adoptList(element: $ZodType, values: readonly unknown[]): Fit {
  const items = values.map((item) => adopt(element, item));
  return items.every((item) => item.fits) ? fit(items.map((item) => item.fits && item.value)) : misfit;
}

function adoptRecord(valueType: $ZodType, value: Record<string, unknown>): Fit {
  const entries: [string, unknown][] = [];
  for (const [key, inner] of Object.entries(value)) {
    const part = adopt(valueType, inner);
    if (!part.fits) return misfit;
    entries.push([key, part.value]);
  }
  return fit(Object.fromEntries(entries));
}
