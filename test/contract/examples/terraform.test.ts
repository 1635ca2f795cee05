/**
 * The Terraform examples, as far as they can be judged without Terraform and a cloud: every reference leads somewhere,
 * every call is complete, every argument is one that the providers know, the same doors are open everywhere, and secrets
 * are marked.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { before, describe, test } from 'node:test';
import {
  asBody,
  type Body,
  blocks,
  parseHcl,
  readModule,
  referencesIn,
  type TerraformModule,
} from '../../support/hcl.ts';
import {
  type Arguments,
  type ProviderSchemas,
  schemasFile,
  terraformDir,
  usedTypes,
} from './provider-schemas.ts';

const clouds = ['aws', 'azure', 'google'] as const;
const dirs = ['', 'modules/user-data', ...clouds.map((cloud) => `modules/${cloud}`)];
const { providers, resources: schemas }: ProviderSchemas = JSON.parse(readFileSync(schemasFile, 'utf8'));

/** What Terraform itself understands in any resource. */
const metaArguments = ['count', 'for_each', 'depends_on', 'lifecycle', 'provider'];
/** The first word of references that need no declaration. */
const builtIn = ['each', 'count', 'path', 'self', 'terraform'];

const modules = new Map<string, TerraformModule>();
const moduleIn = (dir: string): TerraformModule => {
  const found = modules.get(dir);
  assert.ok(found !== undefined, dir);
  return found;
};
before(async () => {
  for (const dir of dirs) modules.set(dir, await readModule(join(terraformDir, dir)));
});

const calledDir = (dir: string, call: Body) => {
  const source = String(call['source']);
  return relative(terraformDir, join(terraformDir, dir, source));
};
const required = (module: TerraformModule) =>
  [...module.variables].filter(([, body]) => !('default' in body)).map(([name]) => name);

/** What is wrong with the arguments of a resource or block, each with its place. */
function wrongArguments(body: Body, schema: Arguments, where: string): string[] {
  const wrong = schema.required
    .filter((name) => !(name in body) && asBody(body['dynamic'])[name] === undefined)
    .map((name) => `${where} lacks ${name}`);
  for (const [name, value] of Object.entries(body)) {
    if (metaArguments.includes(name)) continue;
    const inner: readonly (readonly [string, unknown])[] =
      name === 'dynamic'
        ? Object.entries(asBody(value)).flatMap(([block, found]) =>
            blocks(found).map((one) => [block, one['content']] as const),
          )
        : [[name, value]];
    for (const [argument, given] of inner) {
      const place = `${where}.${argument}`;
      const nested = schema.nested[argument];
      if (![...schema.required, ...schema.optional].includes(argument)) wrong.push(`${place} is not known`);
      else if (nested !== undefined)
        for (const block of blocks(given)) wrong.push(...wrongArguments(block, nested, place));
    }
  }
  return wrong;
}

describe('the Terraform examples', () => {
  test('are checked against the schema of each resource that they use, of a version that they take', async () => {
    assert.deepEqual(Object.keys(schemas).sort(), await usedTypes(), 'run `make tf-schemas`');
    for (const dir of dirs.filter((one) => one !== 'modules/user-data'))
      for (const [provider, wanted] of Object.entries(moduleIn(dir).providers))
        assert.equal(
          asBody(wanted)['version'],
          `~> ${providers[provider]?.replace(/\.\d+$/, '')}`,
          `${dir} ${provider}`,
        );
  });

  test('are found wrong where an argument is misspelt, missing, or in the wrong block', () => {
    const schema = schemas['azurerm_public_ip'];
    assert.ok(schema !== undefined);
    const fine = { allocation_method: 'Static', location: 'x', name: 'x', resource_group_name: 'x' };
    assert.deepEqual(wrongArguments(fine, schema, 'ip'), []);
    const { name: _, ...nameless } = fine;
    assert.deepEqual(wrongArguments({ ...nameless, skoo: 1, timeouts: [{ foo: 1 }] }, schema, 'ip'), [
      'ip lacks name',
      'ip.skoo is not known',
      'ip.timeouts.foo is not known',
    ]);
  });

  for (const dir of dirs) {
    describe(dir === '' ? 'the root' : dir, () => {
      test('gives every resource arguments that the provider knows, and all that it requires', () => {
        const wrong = [...moduleIn(dir).resources].flatMap(([name, body]) => {
          const schema = schemas[name.replace(/\.[^.]+$/, '')];
          return schema === undefined ? [`no schema for ${name}`] : wrongArguments(body, schema, name);
        });
        assert.deepEqual(wrong, []);
      });

      test('refers to nothing that there is not', () => {
        const module = moduleIn(dir);
        for (const { value, where } of module.references) {
          const [kind = '', first = '', second = '', third = ''] = value.split('.');
          if (builtIn.includes(kind)) continue;
          const place = `${value} in ${where}`;
          if (kind === 'var') assert.ok(module.variables.has(first), place);
          else if (kind === 'local') assert.ok(module.locals.has(first), place);
          else if (kind === 'module') {
            const call = module.calls.get(first);
            assert.ok(call !== undefined, place);
            assert.ok(moduleIn(calledDir(dir, call)).outputs.has(second), place);
          } else if (kind === 'data' || kind.includes('_')) {
            const [name, attribute] =
              kind === 'data' ? [`data.${first}.${second}`, third] : [`${kind}.${first}`, second];
            const schema = schemas[name.replace(/\.[^.]+$/, '')];
            const isInside = where.includes(' lifecycle') || /dynamic \w+ content/.test(where);
            if (isInside && !module.resources.has(name)) continue;
            assert.ok(module.resources.has(name), place);
            const known = [
              ...(schema?.attributes ?? []),
              ...(schema?.optional ?? []),
              ...(schema?.required ?? []),
            ];
            if (attribute !== '') assert.ok([...known, 'id'].includes(attribute), place);
          } else {
            // A block's own iterator, or what `lifecycle` names of its resource.
            assert.match(where, / lifecycle| dynamic /, place);
          }
        }
      });

      test('uses every variable and local that it declares, and describes what it takes and gives', () => {
        const module = moduleIn(dir);
        const used = module.references.map(({ value }) => value.split('.').slice(0, 2).join('.'));
        // A validation alone is no use.
        const ownVar = (name: string) => (one: { value: string; where: string }) =>
          one.value.split('.').slice(0, 2).join('.') === `var.${name}` &&
          !one.where.includes(` variable ${name}`);
        for (const name of module.variables.keys())
          assert.ok(module.references.some(ownVar(name)), `variable ${name}`);
        for (const name of module.locals.keys()) assert.ok(used.includes(`local.${name}`), `local ${name}`);
        for (const [name, body] of [...module.variables, ...module.outputs])
          assert.match(String(body['description'] ?? ''), /^[A-Z].*\.$/s, name);
        for (const [name, body] of module.variables) assert.ok('type' in body, name);
      });

      test('calls modules with all that they require and nothing that they do not know', () => {
        for (const [name, { source: _, ...given }] of moduleIn(dir).calls) {
          const call = moduleIn(dir).calls.get(name) ?? {};
          const called = moduleIn(calledDir(dir, call));
          for (const key of required(called)) assert.ok(key in given, `${name} lacks ${key}`);
          for (const key of Object.keys(given))
            assert.ok(called.variables.has(key) || metaArguments.includes(key), `${name} knows no ${key}`);
        }
      });

      test('marks the token, and all that holds it, as sensitive', () => {
        for (const [name, body] of moduleIn(dir).variables)
          assert.equal(body['sensitive'] === true, /token|secret|password/.test(name), name);
        for (const [name, body] of moduleIn(dir).outputs)
          assert.equal(body['sensitive'] === true, name === 'text', name);
      });
    });
  }

  test('agree on what makes a VM a node', () => {
    const types = dirs.map((dir) => moduleIn(dir).variables.get('node')?.['type']);
    assert.ok(types[0] !== undefined);
    assert.equal(new Set(types).size, 1);
  });

  test('open the same doors at every cloud, and no others', () => {
    for (const cloud of clouds) {
      assert.deepEqual(moduleIn(`modules/${cloud}`).locals.get('doors'), {
        http: { protocol: 'tcp', port: 80 },
        https: { protocol: 'tcp', port: 443 },
        quic: { protocol: 'udp', port: 443 },
        zerotier: { protocol: 'udp', port: 9993 },
      });
    }
    // Every rule comes from the doors or from ssh_from.
    const rules = clouds.flatMap((cloud) =>
      [...moduleIn(`modules/${cloud}`).resources].filter(([name]) =>
        /ingress_rule|security_rule|firewall/.test(name),
      ),
    );
    assert.deepEqual(rules.map(([name]) => name).sort(), [
      'aws_vpc_security_group_ingress_rule.this',
      'azurerm_network_security_rule.door',
      'azurerm_network_security_rule.ssh',
      'google_compute_firewall.doors',
      'google_compute_firewall.ssh',
    ]);
    const ports = JSON.stringify(rules.map(([, body]) => body)).match(/"\d+"/g);
    assert.deepEqual(ports, ['"22"', '"22"']);
    assert.match(String(moduleIn('modules/aws').locals.get('ingress')), /var\.ssh_from : .*port = 22/);
  });

  test('ask of AWS that the metadata service wants a token and answers the VM alone', () => {
    const [options] = blocks(
      moduleIn('modules/aws').resources.get('aws_instance.this')?.['metadata_options'],
    );
    assert.equal(options?.['http_tokens'], 'required');
    assert.equal(options?.['http_put_response_hop_limit'], 1);
  });

  test('keep the user data out of the metadata service at Azure', () => {
    const machine = moduleIn('modules/azure').resources.get('azurerm_linux_virtual_machine.this');
    assert.match(String(machine?.['custom_data']), /^\$\{base64encode\(module\.user_data\.text\)\}$/);
    assert.equal(machine?.['user_data'], undefined);
  });

  test('have an example of values for every variable that needs one, and for none that there is not', async () => {
    const values = await parseHcl(join(terraformDir, 'terraform.tfvars.example'));
    const root = moduleIn('');
    assert.deepEqual(
      required(root).filter((name) => !(name in values)),
      [],
    );
    for (const name of Object.keys(values)) assert.ok(root.variables.has(name), name);
  });

  for (const cloud of clouds) {
    test(`give the module of ${cloud} by Terragrunt all that it requires`, async () => {
      const dir = join(terraformDir, 'terragrunt', cloud);
      const unit = await parseHcl(join(dir, 'terragrunt.hcl'));
      const shared = await parseHcl(join(dir, '../root.hcl'));
      const source = String(blocks(unit['terraform'])[0]?.['source']);
      assert.ok(existsSync(join(dir, source)), source);
      const module = moduleIn(relative(terraformDir, join(dir, source)));
      const inputs = { ...asBody(shared['inputs']), ...asBody(unit['inputs']) };
      for (const name of required(module)) assert.ok(name in inputs, name);
      for (const name of Object.keys(inputs)) assert.ok(module.variables.has(name), name);
      const values = await parseHcl(join(terraformDir, 'terraform.tfvars.example'));
      for (const { value } of await referencesIn({ unit, shared: shared['inputs'] }, cloud)) {
        const path =
          /^(?:include\.root\.locals\.shared|local\.shared)\.(.+)$/.exec(value)?.[1]?.split('.') ?? [];
        const found = path.reduce<unknown>((body, key) => asBody(body)[key], values);
        assert.ok(path.length > 0 && found !== undefined, value);
      }
    });
  }

  test('consist of files that are all looked at', () => {
    const files = globSync('**/*.{tf,hcl}', { cwd: terraformDir });
    const seen = (file: string) => dirs.some((dir) => join(dir, file.split('/').at(-1) ?? '') === file);
    assert.deepEqual(files.filter((file) => !seen(file)).sort(), [
      'terragrunt/aws/terragrunt.hcl',
      'terragrunt/azure/terragrunt.hcl',
      'terragrunt/google/terragrunt.hcl',
      'terragrunt/root.hcl',
    ]);
  });
});
