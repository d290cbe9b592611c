// A limit on requests as Auth0 has it: so many at once, then so many a minute, each user for themselves.

import { createLocalJWKSet, jwtVerify } from 'jose';

import { isJwt, bearerToken } from './bearer.mjs';

const MINUTE_MS = 60_000;

export class RateLimit {
  #burst;
  #msEach;
  #fullAt = new Map(); // by when a user may ask as often as ever

  constructor({ burst, perMinute }) {
    this.#burst = burst;
    this.#msEach = MINUTE_MS / perMinute;
  }

  reset() {
    this.#fullAt.clear();
  }

  // Counts a request of that user, unless it is one too many; the headers that tell, and whether it may pass.
  take(user) {
    const now = Date.now();
    const used = Math.max(0, (this.#fullAt.get(user) ?? now) - now) / this.#msEach;
    const passes = used + 1 <= this.#burst;
    const fullAt = now + (used + (passes ? 1 : 0)) * this.#msEach;
    this.#fullAt.set(user, fullAt);
    const remaining = Math.max(0, Math.floor(this.#burst - (fullAt - now) / this.#msEach));
    // When there is one more to be had than now.
    const nextAt = fullAt - (this.#burst - remaining - 1) * this.#msEach;
    const headers = {
      'X-RateLimit-Limit': String(this.#burst),
      'X-RateLimit-Remaining': String(remaining),
      'X-RateLimit-Reset': String(Math.ceil(nextAt / 1000)),
    };
    if (!passes) headers['Retry-After'] = String(Math.max(1, Math.ceil((nextAt - now) / 1000)));
    return { passes, headers };
  }
}

// Limits UserInfo. A token that is worth nothing is nobody's, and goes on to be refused.
export function limitUserinfo(provider, limit, keys) {
  const keySet = createLocalJWKSet(keys.public);
  const path = provider.pathFor('userinfo');

  async function userOf(token) {
    if (!token) return undefined;
    if (!isJwt(token)) return (await provider.AccessToken.find(token))?.accountId;
    return jwtVerify(token, keySet).then(({ payload }) => payload.sub, () => undefined);
  }

  provider.use(async (ctx, next) => {
    const user = ctx.path === path ? await userOf(bearerToken(ctx)) : undefined;
    if (user === undefined) return next();
    const { passes, headers } = limit.take(user);
    if (passes) await next();
    else {
      ctx.status = 429;
      ctx.body = { error: 'too_many_requests', error_description: 'Global limit has been reached' };
    }
    ctx.set(headers);
    return undefined;
  });
}
