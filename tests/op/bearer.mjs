// Access tokens as requests show them (RFC 6750, section 2.1).

// The token, or undefined when the request shows none in that way.
export const bearerToken = (ctx) => /^Bearer (\S+)$/i.exec(ctx.get('authorization'))?.[1];

// Whether it has the three parts of a signed JWT. Auth0's opaque tokens may have none, or five.
export const isJwt = (token) => token.split('.').length === 3;
