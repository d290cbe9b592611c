// What has been asked of the provider: requests per path, a log, and what became of each refresh token.
import { createHash } from 'node:crypto';
import { finished } from 'node:stream';

import { machineTime } from './clock.mjs';
import { onReply } from './reply.mjs';

// Of each path: many requests to one must not push another's few out, nor fill the memory.
const LOG_LIMIT = 5_000;

// Auth0's name for it, or that of RFC 8707.
export const audienceOf = (form) => form?.get('audience') ?? form?.get('resource') ?? undefined;

const fingerprint = (token) => createHash('sha256').update(token).digest('hex');

export class Ledger {
  #tokenPath;
  #counts = new Map();
  #tokens = new Map();
  #logs = new Map();

  constructor(tokenPath) {
    this.#tokenPath = tokenPath;
  }

  reset() {
    this.#counts.clear();
    this.#tokens.clear();
    this.#logs.clear();
  }

  snapshot() {
    return {
      counts: Object.fromEntries(this.#counts),
      ledger: Object.fromEntries(this.#tokens),
      log: [...this.#logs.values()].flat().sort((one, other) => one.at - other.at),
    };
  }

  arrived(path, res, method) {
    const line = { at: machineTime(), method, path, grant_type: null, client_id: null, audience: null, status: null };
    this.#append(line);
    this.#counts.set(path, (this.#counts.get(path) ?? 0) + 1);

    const visit = { line, token: undefined, granted: false };
    finished(res, (error) => {
      if (error) return; // the reply was lost, or never came
      line.status = res.statusCode;
      if (visit.token && visit.granted && res.statusCode === 200) this.#succeed(visit.token);
    });
    return visit;
  }

  bodyRead(visit, form, clientId) {
    const { line } = visit;
    line.grant_type = form?.get('grant_type') ?? null;
    line.client_id = clientId ?? null;
    line.audience = audienceOf(form) ?? null;
    const token = line.path === this.#tokenPath && form?.get('refresh_token');
    if (!token) return;
    visit.token = this.#row(fingerprint(token));
    visit.token.presented += 1;
    if (visit.token.answered_at !== null) visit.token.repeated_at.push(line.at);
  }

  // A 200 that a fault made up is no success: only the provider grants tokens.
  watchProvider(visit, res) {
    onReply(res, (body) => {
      visit.granted = res.statusCode === 200;
      res.end(body);
    });
  }

  #succeed(token) {
    token.succeeded += 1;
    token.answered_at ??= machineTime();
  }

  #append(line) {
    const log = this.#logs.get(line.path) ?? [];
    this.#logs.set(line.path, log);
    log.push(line);
    if (log.length > LOG_LIMIT) log.shift();
  }

  #row(key) {
    if (!this.#tokens.has(key)) {
      this.#tokens.set(key, { presented: 0, succeeded: 0, answered_at: null, repeated_at: [] });
    }
    return this.#tokens.get(key);
  }
}
