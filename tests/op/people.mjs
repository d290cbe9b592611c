// Everybody has an account: any login name works, with any password, and the name becomes the `sub`. A test may
// change what is known of somebody, and may take an account away.

const STARTED_AT = new Date();
const CREATED_AT = '2026-01-01T00:00:00.000Z';
const LOGIN_ADDRESS = '127.0.0.1';

// Those whom a person looks at, in the picture of the documentation, are called as people are.
const NAMES = { 'auth0|65f1c0a7d2e94b8f': 'Alice Example', 'alice@example.org': 'Alice Example', 'a.example': 'Alice' };

// The claims that each scope gives (OpenID Connect Core, 5.4), with those that some providers have no value for.
export const CLAIMS = {
  openid: ['sub'],
  profile: ['name', 'given_name', 'family_name', 'nickname', 'picture', 'locale', 'zoneinfo', 'updated_at'],
  email: ['email', 'email_verified'],
};
const STANDARD = Object.values(CLAIMS).flat();

const without = (object, drop) => Object.fromEntries(Object.entries(object).filter(([key, value]) => !drop(key, value)));
const withoutNull = (object) => without(object, (_key, value) => value === null);

function identityOf(id) {
  const [provider, userId] = id.includes('|') ? id.split('|') : ['auth0', id];
  const isSocial = provider !== 'auth0';
  const connection = isSocial ? provider : 'Username-Password-Authentication';
  return { connection, provider, user_id: userId, isSocial };
}

class Person {
  #id;
  #claims = {};
  #attributes = {};
  #logins = { last_login: undefined, last_ip: undefined, logins_count: 0 };
  #changedAt = STARTED_AT;
  #timeIsText;
  #metadata;
  #appMetadata;

  constructor(id, timeIsText) {
    this.#id = id;
    this.#timeIsText = timeIsText;
  }

  // What the provider says of the person in UserInfo and ID tokens, whatever the scopes.
  claims() {
    const id = this.#id;
    return withoutNull({
      sub: id,
      name: NAMES[id] ?? `Name of ${id}`,
      nickname: id,
      picture: `https://example.invalid/${encodeURIComponent(id)}.png`,
      email: `${id.replace(/\W/g, '.')}@example.invalid`,
      email_verified: true,
      // OpenID Connect has a number here, Auth0 a text.
      updated_at: this.#timeIsText ? this.#changedAt.toISOString() : Math.floor(this.#changedAt / 1000),
      ...this.#claims,
    });
  }

  // Those that the scopes of an access token give.
  claimsFor(scopes) {
    const named = scopes.flatMap((scope) => CLAIMS[scope] ?? []);
    return { ...without(this.claims(), (key) => !named.includes(key)), ...this.customClaims() };
  }

  // Those of a test's own, which no scope names: they are told to everybody.
  customClaims() {
    return without(withoutNull(this.#claims), (key) => STANDARD.includes(key));
  }

  // As Auth0's Management API has it: what there is nothing of is left out.
  user() {
    const user = {
      user_id: this.#id,
      ...without(this.claims(), (key) => key === 'sub' || !STANDARD.includes(key)),
      created_at: CREATED_AT,
      updated_at: this.#changedAt.toISOString(),
      identities: [identityOf(this.#id)],
      user_metadata: this.#metadata,
      app_metadata: this.#appMetadata,
      ...this.#logins,
      ...this.#attributes,
    };
    return without(user, (_key, value) => value === undefined || value === null);
  }

  change({ claims = {}, user_metadata: metadata, app_metadata: appMetadata, ...attributes }) {
    Object.assign(this.#claims, claims);
    Object.assign(this.#attributes, attributes);
    if (metadata !== undefined) this.#metadata = metadata ?? undefined;
    if (appMetadata !== undefined) this.#appMetadata = appMetadata ?? undefined;
    this.#changedAt = new Date();
  }

  // Merged at the first level: null takes a key away, and an object without any takes all of them.
  changeMetadata(changes) {
    const isEmpty = Object.keys(changes).length === 0;
    this.change({ user_metadata: isEmpty ? null : withoutNull({ ...this.#metadata, ...changes }) });
  }

  loggedIn() {
    const { logins_count: count } = this.#logins;
    this.#logins = { last_login: new Date().toISOString(), last_ip: LOGIN_ADDRESS, logins_count: count + 1 };
  }
}

export class People {
  #known = new Map();
  #removed = new Set();
  #timeIsText;

  constructor({ flavor }) {
    this.#timeIsText = flavor === 'auth0';
  }

  // Undefined for somebody whose account was taken away.
  find(id) {
    if (this.#removed.has(id)) return undefined;
    if (!this.#known.has(id)) this.#known.set(id, new Person(id, this.#timeIsText));
    return this.#known.get(id);
  }

  remove(id) {
    this.#known.delete(id);
    this.#removed.add(id);
  }

  reset() {
    this.#known.clear();
    this.#removed.clear();
  }

  // oidc-provider hands out the claims that a scope names, and no others.
  layOver(provider) {
    const people = this;
    const { Claims } = provider;
    const { result } = Claims.prototype;
    Claims.prototype.result = async function withCustomClaims() {
      const custom = people.find(this.available.sub)?.customClaims();
      return { ...(await result.call(this)), ...custom };
    };
    provider.on('grant.success', (ctx) => {
      const { Account: account } = ctx.oidc.entities;
      if (account && ctx.oidc.params.grant_type !== 'refresh_token') this.find(account.accountId)?.loggedIn();
    });
  }
}
