// Auth0's multi-resource refresh tokens: a refresh may name another API than the login did, and gets a token for
// that one. The refresh token that replaces the old one is the login's, as ever.
import { errors, Provider } from 'oidc-provider';

const words = (text) => (text ?? '').split(' ').filter(Boolean);

// The API which the request in hand is to have a token for, when it is not the login's.
const otherApi = () => Provider.ctx?.state.otherApi;

// An audience that is not the refresh token's is left out, as if nobody had asked, and what goes beyond the login.
function ignoreAudience(params, token) {
  const scope = words(params.scope).filter((name) => token.scopes.has(name));
  params.resource = undefined;
  params.scope = scope.join(' ') || undefined;
}

const isGood = (token) => token.isValid && token.clientId === Provider.ctx.oidc.client.clientId;

// `isAllowed(resource)` is the policy; an audience outside it is refused (`invalid_target`), or else ignored.
export function exchangeForOtherApis(provider, { isAllowed, refuse, scopes }) {
  const { RefreshToken, Grant } = provider;
  const find = RefreshToken.find.bind(RefreshToken);
  const { getResourceScope } = Grant.prototype;
  const own = {
    scopes: Object.getOwnPropertyDescriptor(provider.BaseToken.prototype, 'scopes').get,
    resources: Object.getOwnPropertyDescriptor(provider.BaseToken.prototype, 'resourceIndicators').get,
  };

  RefreshToken.find = async (...args) => {
    const token = await find(...args);
    const params = Provider.ctx?.oidc.params;
    const asked = params?.grant_type === 'refresh_token' && params.resource;
    if (!token || !asked || own.resources.call(token).has(asked)) return token;
    if (isAllowed(asked)) Provider.ctx.state.otherApi = asked;
    else if (!refuse) ignoreAudience(params, token);
    // oidc-provider itself would replace the refresh token first, and then not hand out the new one.
    else if (isGood(token)) throw new errors.InvalidTarget();
    return token;
  };

  // For the request in hand it is good for that API too. A scope that is not the API's is asked for in vain.
  Object.defineProperties(RefreshToken.prototype, {
    resourceIndicators: {
      get() {
        const resources = own.resources.call(this);
        return otherApi() ? resources.add(otherApi()) : resources;
      },
    },
    scopes: {
      get() {
        const granted = own.scopes.call(this);
        if (!otherApi()) return granted;
        return new Set([...granted, ...words(scopes), ...words(Provider.ctx.oidc.params.scope)]);
      },
    },
  });
  Grant.prototype.getResourceScope = function scopeOfPolicy(resource) {
    return resource === otherApi() ? scopes : getResourceScope.call(this, resource);
  };
}
