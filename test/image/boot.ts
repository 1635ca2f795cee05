/**
 * Boots the image that `make image` built, in QEMU with UEFI, with the example for baked images as its user data, and asks it what
 * runs. The disk is not written to. Fails where a unit failed, one of mooring's does not run, or no answer comes in time.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { BedError, run, tail } from '../bed/process.ts';

const root = join(import.meta.dirname, '../..');
const image = process.argv[2] ?? join(root, 'build/mooring-image.raw');
/** Without KVM, which not every machine lets UEFI have (ACCEL=kvm takes it), a boot takes some minutes. */
const deadlineMs = 15 * 60_000;
const units = [
  'mooring.service',
  'zerotier-one.service',
  'mooring-ingress.service',
  'systemd-resolved.service',
];
const mark = 'image-boot:';

/** Run by cloud-init as the last thing: tells, on the console, then switches off. */
const questions = `
{
  i=0
  while [ $i -lt 300 ] && [ "$(systemctl is-active ${units.join(' ')} | grep -cx active)" -lt ${units.length} ]; do
    i=$((i + 1)); sleep 1
  done
  for unit in ${units.join(' ')}; do echo "${mark} $unit $(systemctl is-active $unit)"; done
  systemctl --failed --plain --no-legend | sed 's/^/${mark} failed /'
  echo "${mark} root $(df --output=size -m / | tail -n 1 | tr -d ' ') MiB"
  echo "${mark} blacklist $(grep -c flannel /var/lib/zerotier-one/local.conf)"
  mooring status --json >/run/status.json
  echo "${mark} authorized $(grep -c '"type": *"NetworkAuthorized"' /run/status.json)"
  echo "${mark} end"
} >/dev/ttyS0 2>&1
poweroff
`;

/** A volume on which cloud-init finds what this instance is told. */
async function writeSeed(folder: string): Promise<string> {
  const example = await readFile(join(root, 'examples/cloud-init/baked-image.yaml'), 'utf8');
  const userData = parse(example) as Record<string, unknown[]>;
  userData['runcmd'] = [...(userData['runcmd'] ?? []), ['sh', '-c', questions]];
  await writeFile(join(folder, 'user-data'), `#cloud-config\n${stringify(userData)}`);
  await writeFile(join(folder, 'meta-data'), 'instance-id: image-boot\nlocal-hostname: baked\n');
  const seed = join(folder, 'seed.img');
  await run(['mkfs.vfat', '-n', 'CIDATA', '-C', seed, '1024']);
  await run(['mcopy', '-i', seed, join(folder, 'user-data'), join(folder, 'meta-data'), '::']);
  return seed;
}

/** Boots until the machine is off, and returns what the console said. */
async function boot(seed: string): Promise<string> {
  const args = [
    ...[
      '-machine',
      'q35',
      '-accel',
      process.env['ACCEL'] ?? 'tcg,thread=multi',
      '-cpu',
      'max',
      '-smp',
      '2',
      '-m',
      '1536',
    ],
    ...[
      '-bios',
      '/usr/share/ovmf/OVMF.fd',
      '-display',
      'none',
      '-serial',
      'stdio',
      '-no-reboot',
      '-snapshot',
    ],
    ...['-drive', `file=${image},format=raw,if=virtio`, '-drive', `file=${seed},format=raw,if=virtio`],
    // A card, so that the network comes up; it leads nowhere.
    ...['-nic', 'user,model=virtio-net-pci,restrict=on'],
  ];
  const qemu = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const timer = setTimeout(() => qemu.kill('SIGKILL'), deadlineMs);
  let said = '';
  try {
    for await (const chunk of qemu.stdout) said += String(chunk);
  } finally {
    clearTimeout(timer);
    qemu.kill('SIGKILL');
  }
  return said;
}

const folder = await mkdtemp(join(tmpdir(), 'mooring-image-'));
try {
  const startedMs = performance.now();
  const said = await boot(await writeSeed(folder));
  const answers = said.split('\n').flatMap((line) => line.split(mark)[1]?.trim() ?? []);
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  process.stdout.write(`${answers.join('\n')}\nbooted, asked and switched off in ${seconds} s\n`);
  const wrong = [
    ...units.filter((unit) => !answers.includes(`${unit} active`)).map((unit) => `${unit} does not run`),
    ...answers.filter((answer) => answer.startsWith('failed ')),
    ...(answers.includes('blacklist 1') ? [] : ['ZeroTier has no blacklist']),
    ...(answers.includes('end') ? [] : [`it did not answer in time; its console:\n${tail(said, 60)}`]),
  ];
  if (wrong.length > 0) throw new BedError(wrong.join('\n'));
} finally {
  await rm(folder, { recursive: true, force: true });
}
