// Auth0's Management API, as far as a user's own access token reaches: reading oneself, and changing one's
// `user_metadata`. After Auth0's documentation; its texts are from memory.
import { createLocalJWKSet, jwtVerify } from 'jose';

import { bearerToken, isJwt } from './bearer.mjs';
import { readJson } from './form.mjs';

export const MANAGEMENT_PATH = '/api/v2/users/';
export const MANAGEMENT_SCOPES = 'read:current_user update:current_user_metadata';

const SCOPE_OF = { GET: 'read:current_user', PATCH: 'update:current_user_metadata' };
const REASONS = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  429: 'Too Many Requests',
};

// What is answered in place of the user.
class Refusal extends Error {
  constructor(status, message, errorCode) {
    super(message);
    this.status = status;
    this.body = { statusCode: status, error: REASONS[status], message, ...(errorCode && { errorCode }) };
  }
}

function isObject(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function chosenFields(user, query) {
  const fields = new URLSearchParams(query).get('fields');
  if (!fields) return user;
  const named = new Set(fields.split(',').map((field) => field.trim()));
  const include = new URLSearchParams(query).get('include_fields') !== 'false';
  return Object.fromEntries(Object.entries(user).filter(([key]) => named.has(key) === include));
}

async function readChanges(req) {
  const body = await readJson(req).catch(() => {
    throw new Refusal(400, 'Invalid request payload JSON format');
  });
  if (!isObject(body)) throw new Refusal(400, "Payload validation error: 'Expected type object'.", 'invalid_body');
  const others = Object.keys(body).filter((key) => key !== 'user_metadata');
  if (others.length) throw new Refusal(403, `You cannot update: ${others.join(', ')}`, 'insufficient_scope');
  const { user_metadata: changes } = body;
  if (!isObject(changes)) {
    const text = "Payload validation error: 'Expected type object' on property user_metadata.";
    throw new Refusal(400, text, 'invalid_body');
  }
  return changes;
}

export class ManagementApi {
  #keys;
  #issuer;
  #audience;
  #people;
  #limit;

  constructor({ issuer, audience, keys, people, limit }) {
    this.#keys = createLocalJWKSet(keys.public);
    this.#issuer = issuer;
    this.#audience = audience;
    this.#people = people;
    this.#limit = limit;
  }

  layOver(provider) {
    provider.use(async (ctx, next) => {
      if (!ctx.path.startsWith(MANAGEMENT_PATH)) return next();
      try {
        ctx.body = await this.#answer(ctx);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        ctx.status = error.status;
        ctx.body = error.body;
      }
      return undefined;
    });
  }

  async #answer(ctx) {
    const scope = SCOPE_OF[ctx.method];
    if (!scope) throw new Refusal(404, 'Not Found');
    const claims = await this.#claimsOf(ctx);
    this.#count(ctx, claims.sub);
    if (!(claims.scope ?? '').split(' ').includes(scope)) {
      throw new Refusal(403, `Insufficient scope, expected any of: ${scope}`, 'insufficient_scope');
    }
    if (decodeURIComponent(ctx.path.slice(MANAGEMENT_PATH.length)) !== claims.sub) {
      const text = 'User to be acted on does not match subject in bearer token.';
      throw new Refusal(403, text, 'insufficient_scope');
    }
    const person = this.#people.find(claims.sub);
    if (!person) throw new Refusal(404, 'The user does not exist.', 'inexistent_user');
    if (ctx.method === 'PATCH') person.changeMetadata(await readChanges(ctx.req));
    return chosenFields(person.user(), ctx.querystring);
  }

  async #claimsOf(ctx) {
    if (!ctx.get('authorization')) throw new Refusal(401, 'Missing authentication');
    const token = bearerToken(ctx);
    // It looks at the shape first: a token that is no JWT is for it a header that it can't read.
    if (!token || !isJwt(token)) throw new Refusal(400, 'Bad HTTP authentication header format', 'Bearer');
    const expected = { issuer: this.#issuer, audience: this.#audience, clockTolerance: 0 };
    try {
      return (await jwtVerify(token, this.#keys, expected)).payload;
    } catch (error) {
      throw new Refusal(401, error.code === 'ERR_JWT_EXPIRED' ? 'Expired token received' : 'Invalid token');
    }
  }

  #count(ctx, user) {
    if (!this.#limit) return;
    const { passes, headers } = this.#limit.take(user);
    ctx.set(headers);
    if (!passes) throw new Refusal(429, 'Global limit has been reached', 'too_many_requests');
  }
}
