// Reading a request's form ahead of the provider, so that the ledger and the faults can look at it.

async function readText(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

export async function readJson(req) {
  return JSON.parse(await readText(req));
}

function formOfJson(text) {
  try {
    return new URLSearchParams(JSON.parse(text));
  } catch {
    return new URLSearchParams(); // the provider will miss grant_type, and say so
  }
}

// The request's form, or undefined when it has none; then its body is left for the provider.
export async function readForm(req, { json }) {
  const type = req.headers['content-type'] ?? '';
  if (req.method !== 'POST') return undefined;
  if (type.startsWith('application/x-www-form-urlencoded')) return new URLSearchParams(await readText(req));
  if (json && type.startsWith('application/json')) return formOfJson(await readText(req));
  return undefined;
}

// oidc-provider takes `req.body` when the request was read before it came there.
export function acceptForm(req, form) {
  req.headers['content-type'] = 'application/x-www-form-urlencoded';
  req.body = form.toString();
}
