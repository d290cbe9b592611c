// Auth0's "rotation overlap": for a while the refresh token that was replaced last may be used again. An
// older one, or one that comes later, is still a reuse and revokes the grant.

export function allowOverlap(provider, seconds) {
  const { RefreshToken } = provider;
  const find = RefreshToken.find.bind(RefreshToken);
  const { consume } = RefreshToken.prototype;
  const replacedLast = new Map(); // grant -> {token, at}

  RefreshToken.prototype.consume = async function consumeAndRemember() {
    // Using a token again does not prolong its overlap.
    if (replacedLast.get(this.grantId)?.token !== this.jti) {
      replacedLast.set(this.grantId, { token: this.jti, at: Date.now() });
    }
    return consume.call(this);
  };

  RefreshToken.find = async (...args) => {
    const token = await find(...args);
    const last = token && replacedLast.get(token.grantId);
    const inOverlap = last?.token === token?.jti && Date.now() - last?.at <= seconds * 1000;
    if (token?.consumed && inOverlap) token.consumed = undefined;
    return token;
  };
}
