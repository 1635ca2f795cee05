/** What Terraform would hand to a VM: the template filled in is what cloud-init and mooring take, and installs as the example that is booted does. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { parseConfig } from '#src/config/parse.ts';
import { formatProblem } from '#src/config/problem.ts';
import type { Config } from '#src/config/schema.ts';
import { cloudInitOf } from '../../support/cloud-init.ts';
import {
  asBody,
  blocks,
  parseHcl,
  readModule,
  type TerraformModule,
  templateArguments,
} from '../../support/hcl.ts';
import { terraformDir } from './provider-schemas.ts';

const moduleDir = join(terraformDir, 'modules/user-data');
const template = readFileSync(join(moduleDir, 'user-data.yaml.tftpl'), 'utf8');
const example = readFileSync(join(terraformDir, '../cloud-init/user-data.yaml'), 'utf8');
const token = `K10${'a'.repeat(64)}::node:0123456789abcdef`;

/** Fills in a template that has nothing but `${name}`. */
function fillIn(values: Readonly<Record<string, string>>): string {
  assert.doesNotMatch(template, /%\{|\$\$\{/, 'only plain placeholders are understood here');
  return template.replace(/\$\{(.*?)\}/g, (_, name: string) => {
    const value = values[name];
    assert.ok(value !== undefined, name);
    return value;
  });
}

/** The document's mooring config, and its commands. */
function readDocument(text: string): { config: Config; commands: string; files: readonly unknown[] } {
  const document = asBody(parse(text));
  const files = blocks(document['write_files']);
  const written = files.find((file) => file['path'] === '/etc/mooring/config.yaml')?.['content'];
  const result = parseConfig([{ path: 'config.yaml', text: String(written) }]);
  assert.ok(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
  const commands = Array.isArray(document['runcmd']) ? document['runcmd'].join('\n') : '';
  return { config: result.config, commands, files: files.map(({ content: _, ...rest }) => rest) };
}

/** Every `can(regex("…", path))` of a module's validations. */
function patterns(module: TerraformModule): readonly { readonly path: string; readonly pattern: RegExp }[] {
  const conditions = [...module.variables.values()].flatMap((body) => blocks(body['validation']));
  return conditions.flatMap(({ condition }) =>
    [...String(condition).matchAll(/regex\("((?:[^"\\]|\\.)*)", ([\w.]+)\)/g)].map(
      ([, pattern = '', path = '']) => ({
        path,
        pattern: new RegExp(pattern.replaceAll('\\\\', '\\')),
      }),
    ),
  );
}

describe('the user data of the Terraform examples', () => {
  let folder: string;
  let values: Record<string, string>;
  let file: string;
  let module: TerraformModule;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mooring-template-'));
    file = join(folder, 'user-data.yaml');
    module = await readModule(moduleDir);
    const node = asBody((await parseHcl(join(terraformDir, 'terraform.tfvars.example')))['node']);
    const mooring = asBody(asBody(node['mooring'])['amd64']);
    values = {
      name: 'edge-aws',
      zerotier_network: String(node['zerotier_network']),
      k3s_server: String(node['k3s_server']),
      k3s_token: token,
      architecture: 'amd64',
      k3s_version: String(asBody(node['k3s'])['version']),
      k3s_sha256: String(asBody(asBody(node['k3s'])['sha256'])['amd64']),
      mooring_url: String(mooring['url']),
      mooring_sha256: String(mooring['sha256']),
      http_node_port: '31693',
      https_node_port: '30484',
      ssh_public_key: String(node['ssh_public_key']),
    };
    await writeFile(file, fillIn(values));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test('has exactly the placeholders that the module fills in', async () => {
    const placeholders = new Set([...template.matchAll(/\$\{(.*?)\}/g)].map(([, name]) => name));
    const given = await templateArguments(module.locals.get('text'));
    assert.deepEqual([...placeholders].sort(), [...given.keys()].sort());
    assert.deepEqual(Object.keys(values).sort(), [...given.keys()].sort());
  });

  test('has the defaults of the NodePorts that the examples have', () => {
    const type = String(module.variables.get('node')?.['type']);
    assert.match(type, new RegExp(`http_node_port *= optional\\(number, ${values['http_node_port']}\\)`));
    assert.match(type, new RegExp(`https_node_port *= optional\\(number, ${values['https_node_port']}\\)`));
  });

  for (const suite of ['bookworm', 'trixie']) {
    test(`is taken by cloud-init of ${suite}`, async () => {
      const verdict = await (await cloudInitOf(suite)).judge(file);
      assert.ok(verdict.isValid, verdict.words);
      assert.doesNotMatch(verdict.words, /deprecat|warning/i);
    });
  }

  test('fits into what every cloud allows', () => {
    // AWS: 16 KiB.
    assert.ok(fillIn(values).length < 12 * 1024);
  });

  test('configures and installs the node as the example does that is booted in the tests', () => {
    const ours = readDocument(fillIn(values));
    const theirs = readDocument(example);
    assert.equal(ours.commands, theirs.commands.replaceAll(/^ *# CHANGE.*\n/gm, ''));
    assert.deepEqual(ours.files, theirs.files);
    const { k3s, ...others } = ours.config;
    const { nodeName, withNodeId, ...restOfK3s } = k3s;
    assert.deepEqual([nodeName, withNodeId], ['edge-aws', true]);
    assert.deepEqual(
      { ...others, k3s: { ...restOfK3s, nodeName: 'auto', withNodeId: false } },
      theirs.config,
    );
  });

  test('is well-formed without a token, too, which a person then brings', () => {
    const text = fillIn({ ...values, k3s_token: '' });
    const files = blocks(asBody(parse(text))['write_files']);
    assert.equal(String(files.find(({ path }) => path === '/etc/mooring/k3s-token')?.['content']).trim(), '');
  });

  test('is guarded by validations that take the example and refuse what would break out of its line', () => {
    const found = patterns(module);
    const checked: Readonly<Record<string, string | undefined>> = {
      'var.name': values['name'],
      'var.node.zerotier_network': values['zerotier_network'],
      'var.node.k3s_server': values['k3s_server'],
      'file.url': values['mooring_url'],
      'file.sha256': values['mooring_sha256'],
      'var.node.k3s.version': values['k3s_version'],
      hash: values['k3s_sha256'],
      'var.node.ssh_public_key': values['ssh_public_key'],
      'var.k3s_token': token,
    };
    assert.deepEqual(found.map(({ path }) => path).sort(), Object.keys(checked).sort());
    for (const { path, pattern } of found) {
      const fine = checked[path] ?? '';
      assert.match(fine, pattern, path);
      for (const bad of ['\nruncmd: [reboot]', '"', "'", '$(reboot)', ';reboot', ' #', '`', '\\'])
        assert.doesNotMatch(`${fine}${bad}`, pattern, `${path} with ${JSON.stringify(bad)}`);
    }
  });
});
