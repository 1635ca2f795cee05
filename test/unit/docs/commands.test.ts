/** What README and docs show must be there: verbs and flags, make targets, units, files, links, and a config that is accepted. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findVerb, reservedVerbs, verbs } from '#src/cli/verbs.ts';
import { parseConfig } from '#src/config/parse.ts';
import { formatProblem } from '#src/config/problem.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const pages = ['README.md', ...globSync(['docs/*.md', 'examples/**/README.md'], { cwd: root })];
const readme = read('README.md');

/** Commands of a page: lines of code blocks, and what stands between backticks in a line. */
function commands(page: string): readonly string[] {
  const text = read(page);
  const blocks = [...text.matchAll(/^```\w*\n(.*?)^```$/gms)].map((match) => match[1] ?? '');
  const indented = [...text.matchAll(/^ {4}(\S.*)$/gm)].map((match) => match[1] ?? '');
  const outside = text.replace(/^```\w*\n.*?^```$/gms, '');
  const inline = [...outside.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');
  const lines = [...blocks.flatMap((block) => block.split('\n')), ...indented, ...inline];
  // What is set in columns is the output of a command.
  return lines.map((line) => line.replace(/\s+#.*$/, '').trim()).filter((line) => !/\S {2,}\S/.test(line));
}

/** The words after each `program` at the start of a command or behind `&&`. */
function uses(page: string, program: string): readonly (readonly string[])[] {
  return commands(page)
    .flatMap((line) => line.split(/\s*&&\s*|;\s*/))
    .map((line) => line.replace(/^(\w+=\S* )+/, '').split(/\s+/))
    .filter(([first, second]) => first === program && second !== undefined)
    .map(([, ...words]) => words);
}

describe('the commands in README and docs', () => {
  test('are found at all by this test', () => {
    assert.ok(uses('README.md', 'mooring').length >= 5);
    assert.ok(uses('README.md', 'make').some(([target]) => target === 'demo'));
  });

  for (const page of pages) {
    test(`of mooring in ${page} are verbs that there are, with flags that they have`, () => {
      for (const [name = '', ...words] of uses(page, 'mooring')) {
        const verb = findVerb(name);
        assert.ok(verb !== undefined, `mooring ${name}`);
        for (const flag of words.filter((word) => word.startsWith('--')))
          assert.ok(['--config', ...Object.keys(verb.flags).map((key) => `--${key}`)].includes(flag), flag);
      }
    });

    test(`of make in ${page} are targets that there are`, () => {
      const makefile = read('Makefile');
      for (const [target = ''] of uses(page, 'make'))
        assert.match(makefile, new RegExp(`^${target}:`, 'm'), `make ${target}`);
    });

    test(`links in ${page} lead to files and headings that there are`, () => {
      const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
      for (const link of links.filter((one) => !one.startsWith('https://'))) {
        const [path = '', anchor] = link.split('#');
        const target = path === '' ? page : normalize(join(dirname(page), path));
        assert.ok(existsSync(join(root, target)), link);
        if (anchor === undefined) continue;
        const anchors = [...read(target).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
          heading
            .toLowerCase()
            .replace(/[^\w\s-]/g, '')
            .replace(/\s/g, '-'),
        );
        assert.ok(anchors.includes(anchor), link);
      }
    });

    test(`units and source files named in ${page} are there`, () => {
      const text = read(page);
      for (const [, unit = ''] of text.matchAll(/`((?:mooring|k3s-node)[a-z-]*\.(?:service|target|path))`/g))
        assert.ok(existsSync(join(root, 'packaging/systemd', unit)), unit);
      for (const [, path = ''] of text.matchAll(/`((?:src|test|packaging|examples|docs)\/[\w./-]+)`/g))
        assert.ok(existsSync(join(root, path)), path);
    });
  }
});

describe('README.md', () => {
  test('says on its first screen what mooring is and which two commands there are', () => {
    const screen = readme.split('\n').slice(0, 20).join('\n');
    assert.match(screen, /k3s/);
    assert.match(screen, /ZeroTier/);
    assert.match(screen, /^ {4}make demo\b/m);
    assert.match(screen, /^ {4}make test\b/m);
  });

  test('shows of the demo what the demo prints', () => {
    const demo = read('test/bed/demo.ts');
    const excerpt = [...readme.matchAll(/^ +\d+\.\d s {2}(\w+) +(.+)$/gm)];
    assert.ok(excerpt.length >= 8);
    for (const [line, stage = '', says = ''] of excerpt) {
      assert.ok(demo.includes(`'${stage}'`), line);
      assert.ok(demo.includes(says.replace(/ [0-9a-f]{10}$/, '')), line);
    }
  });

  test('installs in under twenty lines, with a config that is accepted', () => {
    const block = /^```sh\n(.*?)^```$/ms.exec(readme)?.[1] ?? '';
    assert.ok(block.split('\n').length < 20);
    const config = /<<'EOF'\n(.*?)^EOF$/ms.exec(block)?.[1];
    assert.ok(config !== undefined);
    const result = parseConfig([{ path: 'config.yaml', text: config }]);
    assert.ok(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
  });

  test('names every verb for people, and as not there yet exactly those that are reserved', () => {
    for (const verb of verbs.filter(
      (one) => one.isInternal !== true && !['run', 'version'].includes(one.name),
    ))
      assert.ok(readme.includes(`mooring ${verb.name}`), verb.name);
    const [, missing = ''] = /^- The verbs (.*?);/ms.exec(readme) ?? [];
    assert.deepEqual(
      [...missing.matchAll(/`([a-z-]+)`/g)].map((match) => match[1]),
      reservedVerbs,
    );
  });

  test('names the version that would be built', () => {
    const { version }: { version: string } = JSON.parse(read('package.json'));
    assert.ok(readme.includes(`mooring_${version}_amd64.deb`));
  });
});
