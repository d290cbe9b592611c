// Where each endpoint is, by oidc-provider's own names for them.

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

export function pathsOf(flavor) {
  return flavor === 'auth0' ? AUTH0 : PLAIN;
}
