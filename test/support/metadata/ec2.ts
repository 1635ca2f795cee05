/**
 * A stand-in of EC2's API, for DescribeTags alone: it checks the request's signature (AWS Signature Version 4, computed anew from the
 * secret) and the session token, and answers in XML, or with the error that the real one has for a missing right.
 */
import { createHash, createHmac } from 'node:crypto';
import type { Behaviour, SeenRequest } from '../bad-http-server.ts';

export interface Ec2Options {
  readonly role: { readonly accessKeyId: string; readonly secretKey: string; readonly token: string };
  readonly instanceId: string;
  readonly tags: Readonly<Record<string, string>>;
  /** The role may not ask for tags. */
  readonly isForbidden?: boolean;
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
const escapeXml = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Whether the request is signed with the role's secret. */
function isSigned(request: SeenRequest, { accessKeyId, secretKey, token }: Ec2Options['role']): boolean {
  const header = (name: string) => String(request.headers[name] ?? '');
  const [, key, date = '', region = '', service = '', names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      header('authorization'),
    ) ?? [];
  if (key !== accessKeyId || header('x-amz-security-token') !== token) return false;
  if (!['host', 'x-amz-date', 'x-amz-security-token'].every((name) => names.split(';').includes(name)))
    return false;
  const signed = names.split(';').map((name) => `${name}:${header(name).trim()}\n`);
  const canonical = [request.method, request.path, '', signed.join(''), names, sha256(request.body)].join(
    '\n',
  );
  const scope = `${date}/${region}/${service}/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', header('x-amz-date'), scope, sha256(canonical)].join('\n');
  const signingKey = [date, region, service, 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${secretKey}`,
  );
  return hmac(signingKey, toSign).toString('hex') === signature;
}

const errorXml = (code: string, message: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>1</RequestID></Response>`;

export const ec2 =
  (options: Ec2Options): Behaviour =>
  (request, response) => {
    const { role, instanceId, tags } = options;
    const answer = (status: number, body: string) =>
      response.writeHead(status, { 'Content-Type': 'text/xml;charset=UTF-8' }).end(body);
    const asked = new URLSearchParams(request.body);
    if (!isSigned(request, role)) return answer(401, errorXml('AuthFailure', 'not signed'));
    if (options.isForbidden === true)
      return answer(403, errorXml('UnauthorizedOperation', 'You are not authorized. Encoded: secretive'));
    const isForTags = asked.get('Action') === 'DescribeTags' && asked.get('Filter.1.Name') === 'resource-id';
    if (!isForTags) return answer(400, errorXml('InvalidAction', 'this stand-in has DescribeTags only'));
    const own = asked.get('Filter.1.Value.1') === instanceId ? Object.entries(tags) : [];
    const items = own.map(
      ([key, value]) =>
        `<item><resourceId>${instanceId}</resourceId><resourceType>instance</resourceType><key>${escapeXml(key)}</key><value>${escapeXml(value)}</value></item>`,
    );
    return answer(
      200,
      `<?xml version="1.0" encoding="UTF-8"?>\n<DescribeTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId><tagSet>${items.join('')}</tagSet></DescribeTagsResponse>`,
    );
  };
