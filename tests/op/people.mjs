// Everybody has an account: any login name works, with any password, and the name becomes the `sub`.

const STARTED_AT = Math.floor(Date.now() / 1000);

export function person(id) {
  return {
    sub: id,
    name: `Name of ${id}`,
    nickname: id,
    picture: `https://example.invalid/${encodeURIComponent(id)}.png`,
    email: `${id.replace(/\W/g, '.')}@example.invalid`,
    email_verified: true,
    updated_at: STARTED_AT,
  };
}
