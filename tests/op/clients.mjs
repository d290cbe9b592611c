// Who may ask for tokens. The secrets are known to provider.py too.

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const USER_GRANTS = ['authorization_code', 'refresh_token', DEVICE];

function userClient(id, authentication = { token_endpoint_auth_method: 'none' }, grants = USER_GRANTS) {
  return {
    client_id: id,
    client_name: id,
    application_type: 'native',
    grant_types: grants,
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/callback'], // on loopback any port is accepted (RFC 8252)
    post_logout_redirect_uris: ['http://127.0.0.1/loggedout'],
    ...authentication,
  };
}

// Without a user: a service that acts for itself, or, without any grant, a resource server.
function serviceClient(id, authentication, grants = ['client_credentials']) {
  return { client_id: id, grant_types: grants, response_types: [], redirect_uris: [], ...authentication };
}

const basic = (secret) => ({ client_secret: secret, token_endpoint_auth_method: 'client_secret_basic' });
const post = (secret) => ({ client_secret: secret, token_endpoint_auth_method: 'client_secret_post' });

export const CLIENTS = [
  userClient('native-app'),
  userClient('second-app'),
  { ...userClient('portal-app'), redirect_uris: ['http://localhost'] }, // as Entra's portal registers them
  userClient('no-refresh-app', undefined, ['authorization_code']),
  userClient('basic-app', basic('basic-secret')),
  userClient('post-app', post('post-secret')),
  // Basic form-encodes id and secret ahead of base64 (RFC 6749, 2.3.1). It may hold printable ASCII only (A.2).
  userClient('odd-app', basic('b:s+ %/&="~'), [...USER_GRANTS, 'client_credentials']),
  // Its ID tokens and UserInfo are signed with the secret, which must be as long as the hash; or UserInfo by a key.
  {
    ...userClient('mac-app', basic('mac-secret-of-32-characters-----')),
    id_token_signed_response_alg: 'HS256',
    userinfo_signed_response_alg: 'HS256',
  },
  { ...userClient('signed-app'), userinfo_signed_response_alg: 'RS256' },
  serviceClient('service-app', post('service-secret')),
  serviceClient('service-basic', basic('service-secret')),
  serviceClient('rs', basic('rs-secret'), []), // may ask what a token is worth (introspection)
];
