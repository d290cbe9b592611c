// The options of server.mjs, where they are listed and explained.

function wholeNumber(env, name, fallback, pattern = /^\d+$/) {
  const text = env[name];
  if (!text) return fallback;
  if (!pattern.test(text)) throw new Error(`${name} must be a whole number, not ${JSON.stringify(text)}`);
  return Number(text);
}

function oneOf(env, name, choices) {
  const text = env[name] || choices[0];
  if (!choices.includes(text)) throw new Error(`${name} must be one of ${choices.join(', ')}`);
  return text;
}

// So many requests at once, then so many a minute.
function rateLimit(env, name) {
  const text = env[name];
  if (!text) return undefined;
  const [, burst, perMinute] = /^([1-9]\d*)\/([1-9]\d*)$/.exec(text) ?? [];
  if (!burst) throw new Error(`${name} must be like 10/5, not ${JSON.stringify(text)}`);
  return { burst: Number(burst), perMinute: Number(perMinute) };
}

function tlsFiles(env) {
  if (!env.TLS_CERT !== !env.TLS_KEY) throw new Error('TLS_CERT and TLS_KEY go together');
  return env.TLS_CERT ? { cert: env.TLS_CERT, key: env.TLS_KEY } : undefined;
}

export function readOptions(env) {
  return {
    port: wholeNumber(env, 'PORT', 0),
    flavor: oneOf(env, 'FLAVOR', ['auth0', 'plain']),
    accessTokenLifetime: wholeNumber(env, 'AT_TTL', 5),
    idTokenLifetime: wholeNumber(env, 'ID_TTL', 3600),
    refreshTokenLifetime: wholeNumber(env, 'RT_TTL', 14 * 24 * 3600),
    deviceCodeLifetime: wholeNumber(env, 'DEVICE_TTL', 600),
    interval: wholeNumber(env, 'INTERVAL', 5),
    rotate: oneOf(env, 'ROTATE', ['1', '0']) === '1',
    overlap: wholeNumber(env, 'REUSE_LEEWAY', 0),
    audienceFallback: oneOf(env, 'AUDIENCE_FALLBACK', ['0', '1']) === '1',
    multiResource: oneOf(env, 'MULTI_RESOURCE', ['1', '0']) === '1',
    otherAudience: oneOf(env, 'OTHER_AUDIENCE', ['refused', 'ignored']),
    managementAudience: env.MANAGEMENT_AUDIENCE || undefined,
    managementRefreshToken: oneOf(env, 'MANAGEMENT_REFRESH', ['1', '0']) === '1',
    managementLimit: rateLimit(env, 'MANAGEMENT_LIMIT'),
    userinfoLimit: rateLimit(env, 'USERINFO_LIMIT'),
    clockOffset: wholeNumber(env, 'CLOCK_OFFSET', 0, /^-?\d+$/),
    origin: env.ORIGIN || undefined,
    tls: tlsFiles(env),
  };
}
