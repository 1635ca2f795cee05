/** The page for people at `/`. Every value is escaped; it works without scripts. */
import { type StatusDocument, wordsOf } from './status.ts';

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => entities[character] ?? '');

/** The whole document. */
export function statusPage(document: StatusDocument | undefined): string {
  const title =
    document === undefined
      ? 'mooring: starting'
      : `${document.hostname}: ${document.ready ? 'moored' : 'not moored'}`;
  const rows = (document?.conditions ?? [])
    .map(
      (one) =>
        `<tr class="${one.status}"><td>${escapeHtml(one.type)}</td><td>${one.status}</td><td>${escapeHtml(one.reason)}</td><td>${escapeHtml(one.message)}</td><td>${escapeHtml(one.since)}</td></tr>`,
    )
    .join('\n');
  const listeners = (document?.ingress.listeners ?? [])
    .map(
      (one) =>
        `<tr><td>${escapeHtml(one.name)}</td><td>${escapeHtml(one.protocol)}</td><td>${escapeHtml(wordsOf(one))}</td></tr>`,
    )
    .join('\n');
  const ingress =
    listeners === ''
      ? ''
      : `
<h2>Ingress, since mooring's start</h2>
<table>
<thead><tr><th>Listener</th><th>Protocol</th><th>Connections</th></tr></thead>
<tbody>
${listeners}
</tbody>
</table>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
tr.true td:nth-child(2) { color: #176f2c } tr.false td:nth-child(2) { color: #b3261e; font-weight: bold }
</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(document?.sentence ?? 'the first pass is under way')}</p>
<table>
<thead><tr><th>Condition</th><th>Status</th><th>Reason</th><th>Message</th><th>Since</th></tr></thead>
<tbody>
${rows}
</tbody>
</table>${ingress}
<p>mooring ${escapeHtml(document?.version ?? '')}: <a href="/status">status</a>, <a href="/metrics">metrics</a></p>
</body>
</html>
`;
}
