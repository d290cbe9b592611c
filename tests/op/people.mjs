// Everybody has an account: any login name works, with any password, and the name becomes the `sub`.

const STARTED_AT = Math.floor(Date.now() / 1000);

// Those whom a person looks at, in the picture of the documentation, are called as people are.
const NAMES = { 'auth0|65f1c0a7d2e94b8f': 'Alice Example', 'alice@example.org': 'Alice Example', 'a.example': 'Alice' };

export function person(id) {
  return {
    sub: id,
    name: NAMES[id] ?? `Name of ${id}`,
    nickname: id,
    picture: `https://example.invalid/${encodeURIComponent(id)}.png`,
    email: `${id.replace(/\W/g, '.')}@example.invalid`,
    email_verified: true,
    updated_at: STARTED_AT,
  };
}
