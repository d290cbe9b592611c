// The key that signs ID tokens and JWT access tokens. It is made anew at each start.
import { generateKeyPairSync } from 'node:crypto';

export function createSigningKeys() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const usage = { use: 'sig', alg: 'RS256', kid: 'k1' };
  return {
    private: { keys: [{ ...privateKey.export({ format: 'jwk' }), ...usage }] },
    public: { keys: [{ ...publicKey.export({ format: 'jwk' }), ...usage }] },
  };
}
