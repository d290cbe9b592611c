// Auth0's manners, laid over oidc-provider: the issuer's trailing slash, `audience`, the shape of its JWT
// access tokens, its statuses and texts for errors of the token endpoint, and its rate-limit headers. Its
// paths are in paths.mjs, its Management API in management.mjs, its refresh tokens for several APIs in
// resources.mjs, its logout in logout.mjs. All of this follows Auth0's documentation; the rest is
// oidc-provider's.
import { createLocalJWKSet, jwtVerify } from 'jose';

import { bearerToken, isJwt } from './bearer.mjs';

const RATE_LIMIT = 300;

const ERROR_TEXTS = {
  invalid_grant: (grantType) =>
    grantType === 'refresh_token' ? 'Unknown or invalid refresh token.' : 'Invalid authorization code',
  authorization_pending: () => 'User has yet to authorize device code.',
  expired_token: () => 'The device code has expired.',
  access_denied: () => 'User cancelled the confirmation prompt.',
};

const words = (text) => (text ?? '').split(' ').filter(Boolean);

async function tokenRepliesLikeAuth0(ctx, next) {
  await next();
  if (ctx.oidc?.route !== 'token') return;
  if (ctx.status === 200 && ctx.state.grantedScope) ctx.body.scope = ctx.state.grantedScope;
  if (ctx.status === 400) makeErrorLikeAuth0(ctx);
}

function makeErrorLikeAuth0(ctx) {
  const { error } = ctx.body;
  const text = ERROR_TEXTS[error];
  if (!text) return;
  ctx.status = 403;
  ctx.body = { error, error_description: text(ctx.oidc.body?.grant_type) };
}

function rateLimitHeaders() {
  let remaining = RATE_LIMIT;
  return async (ctx, next) => {
    remaining = remaining > 1 ? remaining - 1 : RATE_LIMIT;
    ctx.set('X-RateLimit-Limit', String(RATE_LIMIT));
    ctx.set('X-RateLimit-Remaining', String(remaining));
    ctx.set('X-RateLimit-Reset', String(Math.floor(Date.now() / 1000) + 60));
    await next();
  };
}

// oidc-provider refuses API tokens at /userinfo; Auth0 takes them when they carry `openid`.
function userinfoForApiTokens(verify, people) {
  return async (ctx, next) => {
    const token = bearerToken(ctx);
    if (ctx.path !== '/userinfo' || !token || !isJwt(token)) return next();
    try {
      const { sub, scope } = (await verify(token)).payload;
      ctx.body = people.find(sub).claimsFor(words(scope));
    } catch {
      ctx.status = 401;
      ctx.set('WWW-Authenticate', 'Bearer error="invalid_token"');
      ctx.body = 'Unauthorized';
    }
    return undefined;
  };
}

export class Auth0 {
  #keys;
  #userinfo;
  #people;
  #audienceFallback;

  constructor({ base, keys, people, audienceFallback, managementAudience }) {
    this.issuer = `${base}/`;
    this.managementAudience = managementAudience ?? `${base}/api/v2/`;
    this.#people = people;
    this.#keys = createLocalJWKSet(keys.public);
    this.#userinfo = `${base}/userinfo`;
    this.#audienceFallback = audienceFallback;
  }

  layOver(provider) {
    const verify = (token) => jwtVerify(token, this.#keys, { clockTolerance: 0, audience: this.#userinfo });
    provider.use(rateLimitHeaders());
    provider.use(tokenRepliesLikeAuth0);
    provider.use(userinfoForApiTokens(verify, this.#people));
  }

  // `audience` is Auth0's name for what RFC 8707 calls `resource`.
  translateRequest(req, form) {
    if (form) this.#translateAudience(form);
    const [path, query] = req.url.split('?', 2);
    if (query === undefined) return;
    const parameters = new URLSearchParams(query);
    if (this.#translateAudience(parameters)) req.url = `${path}?${parameters}`;
  }

  #translateAudience(parameters) {
    const audience = parameters.get('audience');
    if (audience === null) return false;
    parameters.delete('audience');
    const ignored = this.#audienceFallback && audience.includes('fallback');
    if (audience && !ignored && !parameters.has('resource')) parameters.set('resource', audience);
    return true;
  }

  // Auth0's access token names /userinfo as a second audience, and holds all granted scopes and `azp`.
  shapeAccessToken = (ctx, token, jwt) => {
    if (token.kind === 'ClientCredentials') {
      Object.assign(jwt.payload, { sub: `${token.clientId}@clients`, azp: token.clientId, gty: 'client-credentials' });
      return;
    }
    const granted = words(ctx?.oidc?.entities?.Grant?.getOIDCScope());
    const asked = words(ctx?.oidc?.params?.scope);
    const oidcScopes = granted.filter((scope) => asked.length === 0 || asked.includes(scope));
    const { payload } = jwt;
    if (oidcScopes.includes('openid')) payload.aud = [payload.aud, this.#userinfo].flat();
    payload.scope = [...new Set([...oidcScopes, ...words(payload.scope)])].join(' ');
    payload.azp = token.clientId;
    // The token endpoint names all of them too, where oidc-provider names only the API's.
    if (ctx) ctx.state.grantedScope = payload.scope;
  };
}
