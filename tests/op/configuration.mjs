// What oidc-provider is told: clients, scopes, lifetimes, and the features that tests use.
import { errors } from 'oidc-provider';

import { pathsOf } from './paths.mjs';
import { person } from './people.mjs';

const ALL_GRANTS = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
const API_SCOPES = 'read:things write:things read:current_user update:current_user_metadata';

function nativeClient(id, grants = ALL_GRANTS) {
  return {
    client_id: id,
    client_name: id,
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: grants,
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/callback'], // on loopback any port is accepted (RFC 8252)
    post_logout_redirect_uris: ['http://127.0.0.1/loggedout'],
  };
}

// A resource server, which may ask what a token is worth (introspection).
const RESOURCE_SERVER = {
  client_id: 'rs',
  client_secret: 'rs-secret',
  grant_types: [],
  response_types: [],
  redirect_uris: [],
};

function resourceServerInfo(resource, accessTokenLifetime) {
  if (!/^https?:\/\//.test(resource) || resource.includes('unknown')) throw new errors.InvalidTarget();
  return {
    audience: resource,
    scope: API_SCOPES,
    accessTokenTTL: accessTokenLifetime,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'RS256' } },
  };
}

function features(options, auth0) {
  return {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true, allowedPolicy: async () => true },
    introspection: { enabled: true, allowedPolicy: async () => true },
    rpInitiatedLogout: { enabled: true },
    dPoP: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: async (_ctx, _client, granted) => (Array.isArray(granted) ? granted[0] : granted),
      // At Auth0 an audience named at the login holds for the code exchange and for every refresh.
      useGrantedResource: async () => Boolean(auth0),
      getResourceServerInfo: async (_ctx, resource) =>
        resourceServerInfo(resource, options.accessTokenLifetime),
    },
  };
}

export function configuration(options, keys, auth0) {
  return {
    routes: pathsOf(options.flavor),
    jwks: keys.private,
    cookies: { keys: ['not-a-secret'] },
    clients: [
      nativeClient('native-app'),
      nativeClient('second-app'),
      nativeClient('no-refresh-app', ['authorization_code']),
      RESOURCE_SERVER,
    ],
    scopes: ['openid', 'offline_access', 'profile', 'email'],
    claims: {
      openid: ['sub'],
      profile: ['name', 'nickname', 'picture', 'updated_at'],
      email: ['email', 'email_verified'],
    },
    conformIdTokenClaims: false, // the profile goes into the ID token too, as at Auth0
    findAccount: async (_ctx, id) => ({ accountId: id, claims: async () => person(id) }),
    features: features(options, auth0),
    formats: { customizers: auth0 ? { jwt: auth0.shapeAccessToken } : {} },
    ttl: {
      AccessToken: () => options.accessTokenLifetime,
      IdToken: options.idTokenLifetime,
      RefreshToken: () => options.refreshTokenLifetime,
      DeviceCode: options.deviceCodeLifetime,
      AuthorizationCode: 60,
      Interaction: 600,
      Session: 24 * 3600,
      Grant: 14 * 24 * 3600,
    },
    issueRefreshToken: async (_ctx, client, code) =>
      client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
    rotateRefreshToken: () => options.rotate,
    pkce: { required: () => true },
    clockTolerance: 0, // the default of 15 s would keep expired access tokens alive that long
  };
}
