// oidc-provider takes a secret in the header from a client that is registered to put it into the form, and the
// other way round. Many providers don't, so here each client has to keep to its own way.

const METHODS_WITH_SECRET = ['client_secret_basic', 'client_secret_post'];

const decode = (text) => decodeURIComponent(text.replaceAll('+', '%20'));

// The id in an Authorization header of the scheme Basic, or undefined.
function basicId(req) {
  const credentials = /^basic (\S+)$/i.exec(req.headers.authorization ?? '')?.[1];
  if (!credentials) return undefined;
  try {
    return decode(Buffer.from(credentials, 'base64').toString().split(':', 1)[0]);
  } catch {
    return undefined; // not form-encoded; the provider will say so
  }
}

// Which client a request says it comes from, or undefined.
export const clientOf = (req, form) => form?.get('client_id') ?? basicId(req);

export function keepToRegisteredMethod(provider, clients) {
  const registered = new Map(clients.map((client) => [client.client_id, client.token_endpoint_auth_method]));

  provider.use(async (ctx, next) => {
    const form = ctx.method === 'POST' && ctx.req.body ? new URLSearchParams(ctx.req.body) : undefined;
    const method = registered.get(form && clientOf(ctx.req, form));
    const used = form?.has('client_secret') ? 'client_secret_post' : 'client_secret_basic';
    const presented = form?.has('client_secret') || basicId(ctx.req) !== undefined;
    if (presented && METHODS_WITH_SECRET.includes(method) && method !== used) {
      ctx.status = 401;
      ctx.body = { error: 'invalid_client', error_description: `this client is registered for ${method}` };
      return;
    }
    await next();
  });
}
