// Faults that a test orders. Those of REQUEST_FAULTS happen in place of the provider's work, or before it;
// those of REPLY_FAULTS after it, so that a rotation has taken place by then.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';

import { audienceOf } from './ledger.mjs';
import { onReply, sendJson } from './reply.mjs';

const HUGE_LIMIT = 64 * 1024 * 1024;
const HUGE_CHUNK = Buffer.alloc(64 * 1024, 'x');
const DEFAULT_STATUS = 500;
const DEFAULT_DELAY_MS = 1000;
const DEFAULT_DRIP_MS = 10;

const hangUp = (req) => req.socket.destroy();

// Ends early when what the fault holds is released, which may be before it is held.
const hold = ({ ms = DEFAULT_DELAY_MS, signal }) => sleep(ms, undefined, { signal }).catch(() => {});

function sendStatus({ status = DEFAULT_STATUS, headers = {}, body = {} }, res) {
  if (typeof body !== 'string') return sendJson(res, status, body, headers);
  res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers });
  return res.end(body);
}

function sendGarbage({ body = '<html>this is no JSON' }, res) {
  res.writeHead(200, { 'content-type': 'application/json' });
  res.end(body);
}

function* hugeBody() {
  yield Buffer.from('{"access_token":"');
  for (let sent = 0; sent < HUGE_LIMIT; sent += HUGE_CHUNK.length) yield HUGE_CHUNK;
}

async function sendHuge(res) {
  res.writeHead(200, { 'content-type': 'application/json' });
  // That the client hangs up is what the fault is for.
  await pipeline(Readable.from(hugeBody()), res).catch(() => {});
}

// How a careless provider quotes what it was sent: the longest value first, since it is the secret.
const longestFirst = (form) => [...form.values()].sort((one, other) => other.length - one.length);
const ECHOES = {
  values: (form) => longestFirst(form).join(' '),
  form: (form) => new URLSearchParams([...form].sort((one, other) => other[1].length - one[1].length)).toString(),
  part: (form) => longestFirst(form).map((value) => value.slice(0, Math.ceil(value.length * 0.8))).join(' '),
  base64: (form) => longestFirst(form).map((value) => Buffer.from(value).toString('base64')).join(' '),
  header: (_form, req) => req.headers.authorization ?? 'no header',
};

// Each returns whether the request has been dealt with.
const REQUEST_FAULTS = {
  delay: async (fault) => {
    await hold(fault);
    return false;
  },
  'drop-before': (_fault, req) => {
    hangUp(req);
    return true;
  },
  status: (fault, _req, res) => {
    sendStatus(fault, res);
    return true;
  },
  garbage: (fault, _req, res) => {
    sendGarbage(fault, res);
    return true;
  },
  huge: async (_fault, _req, res) => {
    await sendHuge(res);
    return true;
  },
  echo: (fault, req, res, form) => {
    const { status = 400, error = 'server_error', how = 'values' } = fault;
    sendJson(res, status, { error, error_description: `not so: ${ECHOES[how](form ?? new URLSearchParams(), req)}` });
    return true;
  },
};

function sendHalf(req, res, body) {
  res.setHeader('content-length', body.length);
  res.write(body.subarray(0, body.length >> 1), () => hangUp(req));
}

async function drip({ ms = DEFAULT_DRIP_MS }, res, body) {
  for (const byte of body.subarray(0, -1)) {
    if (res.destroyed) return;
    res.write(Buffer.of(byte));
    await sleep(ms);
  }
  res.end(body.subarray(-1));
}

// An ID token with other claims, signed by the provider as it would have signed them itself; null drops one.
function withClaims(idToken, claims, keys) {
  const merged = Object.entries({ ...decodeJwt(idToken), ...claims }).filter(([, value]) => value !== null);
  const [key] = keys.private.keys;
  return new SignJWT(Object.fromEntries(merged)).setProtectedHeader(decodeProtectedHeader(idToken)).sign(key);
}

async function mergeJson(body, { set = {}, unset = [], claims }, keys) {
  const value = { ...JSON.parse(body.toString()), ...set };
  for (const key of unset) delete value[key];
  if (claims && value.id_token) value.id_token = await withClaims(value.id_token, claims, keys);
  return Buffer.from(JSON.stringify(value));
}

async function sendMerged(fault, res, body, keys) {
  const isJson = /json/.test(res.getHeader('content-type') ?? '');
  const merged = isJson ? await mergeJson(body, fault, keys) : body;
  res.statusCode = fault.status ?? res.statusCode;
  res.setHeader('content-length', merged.length);
  res.end(merged);
}

const REPLY_FAULTS = {
  'drop-after': (_fault, req) => hangUp(req),
  'delay-after': (fault, _req, res, body) => hold(fault).then(() => res.end(body)),
  half: (_fault, req, res, body) => sendHalf(req, res, body),
  drip: (fault, _req, res, body) => drip(fault, res, body),
  merge: (fault, _req, res, body, keys) => sendMerged(fault, res, body, keys),
};

export class Faults {
  #ordered = [];
  #happened = new Map();
  #holding = new AbortController();

  order({ times = 1, route = null, method = null, client_id = null, grant_type = null, audience = null, ...fault }) {
    if (!Object.hasOwn(REQUEST_FAULTS, fault.mode) && !Object.hasOwn(REPLY_FAULTS, fault.mode)) {
      throw new Error(`there is no fault named ${JSON.stringify(fault.mode)}`);
    }
    const { signal } = this.#holding;
    this.#ordered.push({ ...fault, times, route, method, client_id, grant_type, audience, signal });
  }

  // Lets go of what the faults hold that have been ordered so far.
  release() {
    this.#holding.abort();
    this.#holding = new AbortController();
  }

  clear() {
    this.#ordered = [];
  }

  forget() {
    this.clear();
    this.#happened.clear();
  }

  list() {
    return this.#ordered.map(({ signal, ...fault }) => fault);
  }

  // How often each mode has happened; `status` by its number as well.
  happened() {
    return Object.fromEntries(this.#happened);
  }

  // The first fault that is meant for this request; it has been used once more by then.
  take(path, form, clientId, method) {
    const seen = {
      route: path,
      method,
      client_id: clientId,
      grant_type: form?.get('grant_type'),
      audience: audienceOf(form),
    };
    const fault = this.#ordered.find((candidate) => this.#isFor(candidate, seen));
    if (!fault) return undefined;
    if (fault.times !== null) fault.times -= 1;
    if (fault.times === 0) this.#ordered.splice(this.#ordered.indexOf(fault), 1);
    const name = fault.mode === 'status' ? `status ${fault.status ?? DEFAULT_STATUS}` : fault.mode;
    this.#happened.set(name, (this.#happened.get(name) ?? 0) + 1);
    return fault;
  }

  #isFor(fault, seen) {
    return Object.entries(seen).every(([name, value]) => fault[name] === null || fault[name] === value);
  }
}

// Returns whether the fault has dealt with the request, so that the provider must not see it.
export async function interceptRequest(fault, req, res, form) {
  const act = REQUEST_FAULTS[fault.mode];
  return act ? act(fault, req, res, form) : false;
}

export function disturbReply(fault, req, res, keys) {
  const act = REPLY_FAULTS[fault.mode];
  if (act) onReply(res, (body) => act(fault, req, res, body, keys));
}
