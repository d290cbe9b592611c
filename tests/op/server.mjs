// A real, certified OpenID Provider (npm's oidc-provider) on loopback, for tests.
//
// The first line on stdout is JSON, {"issuer": ..., "port": ...}; from then on it answers. It ends at
// SIGTERM, at SIGINT, and when its stdin reaches EOF. What it knows is kept in memory, so a restart forgets
// every grant.
//
// Options are environment variables; an empty one counts as absent:
//   PORT=0               the port on 127.0.0.1; 0 takes any free one
//   FLAVOR=auth0         auth0: the provider with Auth0's manners (see auth0.mjs); plain: as it comes
//   AT_TTL=5             lifetime of access tokens, in seconds
//   ID_TTL=3600          lifetime of ID tokens, in seconds
//   RT_TTL=1209600       lifetime of refresh tokens, in seconds
//   DEVICE_TTL=600       lifetime of device codes, in seconds
//   INTERVAL=5           seconds to wait between two polls with a device code
//   ROTATE=1             1: each refresh replaces the refresh token, and presenting a replaced one again
//                        revokes the whole grant; 0: refresh tokens stay the same
//   REUSE_LEEWAY=0       rotation overlap: seconds in which the refresh token replaced last may be used again
//   AUDIENCE_FALLBACK=0  1: an audience with "fallback" in it is silently ignored (FLAVOR=auth0 only)
//   MULTI_RESOURCE=1     1: a refresh may name another audience than the login did (FLAVOR=auth0 only)
//   OTHER_AUDIENCE=refused  refused, ignored: what comes of an audience that a refresh may not name, which the
//                        Management API's is in any case (FLAVOR=auth0 only)
//   MANAGEMENT_AUDIENCE= what the Management API is called, in place of the issuer with api/v2/ (FLAVOR=auth0 only)
//   MANAGEMENT_REFRESH=1 0: a login for the Management API gets no refresh token (FLAVOR=auth0 only)
//   MANAGEMENT_LIMIT=    requests of a user to the Management API: 10/5 is 10 at once, then 5 a minute; "" is no limit
//   USERINFO_LIMIT=      the same for UserInfo, where Auth0 has 10/5
//   CLOCK_OFFSET=0       by how many seconds its clock is ahead, or behind when negative
//   ORIGIN=              what it is called, such as https://op.example, where a proxy leads from that name to its port
//   TLS_CERT, TLS_KEY    PEM files; https is served in place of http when both are set
import './clock.mjs';

import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';

import { Provider } from 'oidc-provider';

import { Auth0 } from './auth0.mjs';
import { clientOf, keepToRegisteredMethod } from './authentication.mjs';
import { CLIENTS } from './clients.mjs';
import { API_SCOPES, configuration, isApi } from './configuration.mjs';
import { answerControl, CONTROL_PATH } from './control.mjs';
import { paceDeviceCodes } from './device.mjs';
import { disturbReply, Faults, interceptRequest } from './faults.mjs';
import { acceptForm, readForm } from './form.mjs';
import { createSigningKeys } from './keys.mjs';
import { Ledger } from './ledger.mjs';
import { limitUserinfo, RateLimit } from './limits.mjs';
import { addLogout } from './logout.mjs';
import { ManagementApi } from './management.mjs';
import { readOptions } from './options.mjs';
import { allowOverlap } from './overlap.mjs';
import { dressPages } from './pages.mjs';
import { AUTH0_ONLY, pathsOf } from './paths.mjs';
import { People } from './people.mjs';
import { exchangeForOtherApis } from './resources.mjs';
import { Secrets } from './secrets.mjs';

const SHUTDOWN_GRACE_MS = 500;

function createServer({ tls }) {
  const server = tls
    ? https.createServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) })
    : http.createServer();
  // Closing an idle connection races with the client's next request on it, which would look like a fault that
  // no test asked for. Connections stay open until the client closes them, or the server ends.
  server.keepAliveTimeout = 0;
  return server;
}

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server.address().port));
  });
}

function silenceDevelopmentWarnings() {
  // oidc-provider warns about its development settings, which is what a test wants; stdout belongs to our
  // line.
  console.info = () => {};
  console.warn = () => {};
}

function endWithItsParent(server) {
  const stop = () => {
    server.close(() => process.exit(0));
    setTimeout(() => process.exit(0), SHUTDOWN_GRACE_MS).unref();
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.stdin.once('end', stop).once('error', stop).resume();
}

function createLimits({ userinfoLimit, managementLimit }) {
  return {
    userinfo: userinfoLimit && new RateLimit(userinfoLimit),
    management: managementLimit && new RateLimit(managementLimit),
  };
}

function layAuth0Over(provider, auth0, issuer, { options, keys, people, limits }) {
  const audience = auth0.managementAudience;
  auth0.layOver(provider);
  exchangeForOtherApis(provider, {
    isAllowed: (resource) => options.multiResource && isApi(resource) && resource !== audience,
    refuse: options.otherAudience === 'refused',
    scopes: API_SCOPES,
  });
  addLogout(provider, AUTH0_ONLY.logout);
  new ManagementApi({ issuer, audience, keys, people, limit: limits.management }).layOver(provider);
}

function createProvider(issuer, auth0, { options, keys, people, limits }) {
  const provider = new Provider(issuer, configuration(options, keys, people, auth0));
  provider.on('server_error', (_ctx, error) => console.error(error));
  people.layOver(provider);
  dressPages(provider);
  if (limits.userinfo) limitUserinfo(provider, limits.userinfo, keys);
  if (options.overlap > 0) allowOverlap(provider, options.overlap);
  if (auth0) layAuth0Over(provider, auth0, issuer, { options, keys, people, limits });
  keepToRegisteredMethod(provider, CLIENTS);
  paceDeviceCodes(provider, { interval: options.interval, tooFastStatus: auth0 ? 429 : 400 });
  return provider;
}

function createHandler(provider, auth0, { keys, people, limits }) {
  const faults = new Faults();
  const ledger = new Ledger(provider.pathFor('token'));
  const secrets = new Secrets();
  const told = { faults, ledger, secrets, people, limits: Object.values(limits).filter(Boolean) };
  const answer = provider.callback();

  return async function handle(req, res) {
    const path = req.url.split('?', 1)[0];
    if (path === CONTROL_PATH) return answerControl(req, res, told);

    const visit = ledger.arrived(path, res, req.method);
    const form = await readForm(req, { json: Boolean(auth0) });
    const clientId = clientOf(req, form);
    ledger.bodyRead(visit, form, clientId);

    res.setHeader('date', new Date().toUTCString()); // Node.js itself would send the machine's time
    secrets.shown(req, form);
    const fault = faults.take(path, form, clientId, req.method);
    if (fault && (await interceptRequest(fault, req, res, form))) return undefined;
    if (fault) disturbReply(fault, req, res, keys);
    ledger.watchProvider(visit, res);
    secrets.granted(res);

    auth0?.translateRequest(req, form);
    if (form) acceptForm(req, form);
    return answer(req, res);
  };
}

async function main() {
  silenceDevelopmentWarnings();
  const options = readOptions(process.env);
  const server = createServer(options);
  const port = await listen(server, options.port);
  const base = options.origin ?? `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const keys = createSigningKeys();
  const people = new People(options);
  const auth0 = options.flavor === 'auth0' ? new Auth0({ base, keys, people, ...options }) : undefined;
  const issuer = auth0?.issuer ?? base;
  const world = { options, keys, people, limits: createLimits(options) };

  const handle = createHandler(createProvider(issuer, auth0, world), auth0, world);
  server.on('request', (req, res) => {
    handle(req, res).catch((error) => {
      // A request that was cut off while it was read is a test's own doing.
      if (!req.destroyed) console.error(error);
      req.socket.destroy();
    });
  });
  endWithItsParent(server);
  const paths = { ...pathsOf(options.flavor), ...(auth0 && AUTH0_ONLY) };
  const ready = { issuer, port, paths, management_audience: auth0?.managementAudience ?? null };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
}

await main();
