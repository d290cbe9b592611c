// What oidc-provider is told: scopes, lifetimes, and the features that tests use.
import { errors } from 'oidc-provider';

import { CLIENTS } from './clients.mjs';
import { logoutPage } from './logout.mjs';
import { MANAGEMENT_SCOPES } from './management.mjs';
import { pathsOf } from './paths.mjs';
import { CLAIMS } from './people.mjs';

export const API_SCOPES = 'read:things write:things';

// Whatever looks like the name of an API is one.
export const isApi = (resource) => /^https?:\/\//.test(resource) && !resource.includes('unknown');

function resourceServerInfo(resource, accessTokenLifetime, auth0) {
  if (!isApi(resource)) throw new errors.InvalidTarget();
  return {
    audience: resource,
    scope: resource === auth0?.managementAudience ? MANAGEMENT_SCOPES : API_SCOPES,
    accessTokenTTL: accessTokenLifetime,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'RS256' } },
  };
}

function features(options, auth0) {
  return {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true, allowedPolicy: async () => true },
    introspection: { enabled: true, allowedPolicy: async () => true },
    jwtUserinfo: { enabled: true },
    rpInitiatedLogout: { enabled: true, ...(auth0 && { logoutSource: logoutPage }) },
    dPoP: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: async (_ctx, _client, granted) => (Array.isArray(granted) ? granted[0] : granted),
      // At Auth0 an audience named at the login holds for the code exchange and for every refresh.
      useGrantedResource: async () => Boolean(auth0),
      getResourceServerInfo: async (_ctx, resource) =>
        resourceServerInfo(resource, options.accessTokenLifetime, auth0),
    },
  };
}

function findAccount(people, id) {
  const person = people.find(id);
  return person && { accountId: id, claims: async () => person.claims() };
}

export function configuration(options, keys, people, auth0) {
  return {
    routes: pathsOf(options.flavor),
    jwks: keys.private,
    cookies: { keys: ['not-a-secret'] },
    clients: CLIENTS,
    scopes: ['openid', 'offline_access', 'profile', 'email'],
    claims: CLAIMS,
    conformIdTokenClaims: false, // the profile goes into the ID token too, as at Auth0
    findAccount: async (_ctx, id) => findAccount(people, id),
    features: features(options, auth0),
    formats: { customizers: auth0 ? { jwt: auth0.shapeAccessToken } : {} },
    ttl: {
      AccessToken: () => options.accessTokenLifetime,
      ClientCredentials: () => options.accessTokenLifetime,
      IdToken: options.idTokenLifetime,
      RefreshToken: () => options.refreshTokenLifetime,
      DeviceCode: options.deviceCodeLifetime,
      AuthorizationCode: 60,
      // By the browser's clock a cookie would be out of date when the provider's is far behind.
      Interaction: 600 + Math.abs(options.clockOffset),
      Session: 24 * 3600,
      Grant: 14 * 24 * 3600,
    },
    issueRefreshToken: async (_ctx, client, code) =>
      client.grantTypeAllowed('refresh_token') &&
      code.scopes.has('offline_access') &&
      (options.managementRefreshToken || code.resource !== auth0?.managementAudience),
    rotateRefreshToken: () => options.rotate,
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'HS256'], userinfoSigningAlgValues: ['RS256', 'HS256'] },
    pkce: { required: () => true },
    clockTolerance: 0, // the default of 15 s would keep expired access tokens alive that long
  };
}
