/**
 * A cloud's metadata service for the bed: `metadata.ts CLOUD ADDRESS [CHANGES_JSON]`, on port 80. What each cloud answers is in
 * test/support/metadata, where the adapter's tests have it from as well. Beside it, on the same address:
 *   port 8080  EC2's API, where AWS' instance has a role
 *   port 8081  takes changes of the instance (POST, JSON) while it runs
 */
import { createServer, type IncomingMessage } from 'node:http';
import { serving } from '../../../support/metadata/behaviour.ts';
import { createMetadataService, metadataClouds } from '../../../support/metadata/clouds.ts';
import { ec2 } from '../../../support/metadata/ec2.ts';
import type { Changes } from '../../../support/metadata/service.ts';

const [name, address = '169.254.169.254', changesText = '{}'] = process.argv.slice(2);
const cloud = metadataClouds.find((one) => one === name);
if (cloud === undefined) throw new Error(`no such cloud: ${name}; there are ${metadataClouds.join(', ')}`);

let changes = parseChanges(changesText);
const service = createMetadataService(cloud, changes);

listen(80, serving(service));
listen(8080, (request, response, socket) => {
  const { role, tags } = changes;
  if (cloud !== 'aws' || !role) return socket.destroy();
  return ec2({ role, tags: tags ?? {}, instanceId: 'i-0123456789abcdef0' })(request, response, socket);
});
listen(8081, (request, response) => {
  changes = { ...changes, ...parseChanges(request.body) };
  service.change(changes);
  response.end();
});

function parseChanges(text: string): Changes {
  const value: unknown = JSON.parse(text);
  return typeof value === 'object' && value !== null ? value : {};
}

function listen(port: number, behave: ReturnType<typeof serving>): void {
  const server = createServer((message: IncomingMessage, response) => {
    let body = '';
    message.setEncoding('utf8').on('data', (chunk) => {
      body += String(chunk);
    });
    message.on('end', () => {
      const { method = '', url: path = '', headers, socket } = message;
      behave({ method, path, headers, body }, response, socket);
    });
  });
  server.listen(port, address);
}
