// The secrets that went through the provider: what it granted, and what it was shown. A test of leaks looks for them.
import { onReply } from './reply.mjs';

const GRANTED = ['access_token', 'refresh_token', 'id_token', 'device_code'];
const SHOWN = ['code', 'code_verifier', 'device_code', 'refresh_token', 'client_secret'];
const ASKED_WITH = ['state', 'nonce'];

function members(body) {
  try {
    return Object.entries(JSON.parse(body.toString()));
  } catch {
    return [];
  }
}

function queryOf(address) {
  return new URLSearchParams(String(address ?? '').split('?', 2)[1]);
}

export class Secrets {
  #found = new Map();

  snapshot() {
    return Object.fromEntries([...this.#found].map(([kind, secrets]) => [kind, [...secrets]]));
  }

  // What a request holds.
  shown(req, form) {
    const query = queryOf(req.url);
    for (const kind of ASKED_WITH) this.#add(kind, query.get(kind));
    for (const kind of SHOWN) this.#add(kind, form?.get(kind));
  }

  // What the provider's reply holds, whether or not a fault lets it out.
  granted(res) {
    onReply(res, (body) => {
      for (const [kind, value] of members(body)) if (GRANTED.includes(kind)) this.#add(kind, value);
      this.#add('code', queryOf(res.getHeader('location')).get('code'));
      res.end(body);
    });
  }

  #add(kind, value) {
    if (typeof value !== 'string' || value === '') return;
    if (!this.#found.has(kind)) this.#found.set(kind, new Set());
    this.#found.get(kind).add(value);
  }
}
