// Where each endpoint is, by oidc-provider's own names for them.
import { MANAGEMENT_PATH } from './management.mjs';

const AUTH0 = {
  authorization: '/authorize',
  token: '/oauth/token',
  userinfo: '/userinfo',
  jwks: '/.well-known/jwks.json',
  revocation: '/oauth/revoke',
  introspection: '/oauth/introspect',
  device_authorization: '/oauth/device/code',
  code_verification: '/activate',
  end_session: '/oidc/logout',
};

// These are oidc-provider's defaults, written down because clients of ours want to read them.
const PLAIN = {
  authorization: '/auth',
  token: '/token',
  userinfo: '/me',
  jwks: '/jwks',
  revocation: '/token/revocation',
  introspection: '/token/introspection',
  device_authorization: '/device/auth',
  code_verification: '/device',
  end_session: '/session/end',
};

// What oidc-provider does not have: the Management API's users, to be followed by an id, and the older logout.
export const AUTH0_ONLY = { management: MANAGEMENT_PATH, logout: '/v2/logout' };

export function pathsOf(flavor) {
  return flavor === 'auth0' ? AUTH0 : PLAIN;
}
