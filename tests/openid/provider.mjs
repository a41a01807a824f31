// An OpenID provider for the tests, on a free port of loopback: oidc-provider, with ways to say what a token is to claim, to change the
// provider's keys, and to forge tokens. `node provider.mjs FOLDER [TLS]`: FOLDER holds its packages, TLS cert.pem and key.pem for https.

import { createHmac, createSign, generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, tls] = process.argv.slice(2);
const packages = createRequire(pathToFileURL(`${folder}/`));
const { Provider } = await import(pathToFileURL(packages.resolve('oidc-provider')));

// What a program gets a token for somebody with. A person would sign in at the provider's pages; no test is about those.
const FOR_SOMEBODY = 'urn:warren:tests:for-somebody';
const CLIENT = 'some-program';
const SECRET = 'some-secret';

function newKey(alg) {
  const pair = alg.startsWith('ES')
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...pair.privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg };
}

function configuration(keys) {
  return {
    jwks: { keys },
    clients: [
      {
        client_id: CLIENT,
        client_secret: SECRET,
        grant_types: ['client_credentials', FOR_SOMEBODY],
        redirect_uris: [],
        response_types: [],
      },
    ],
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => resourceServer(resource, keys[0].alg),
      },
    },
    // The last word on a token, before the provider signs it.
    formats: {
      customizers: {
        jwt(ctx, _token, jwt) {
          const { claims, header } = ctx.oidc.params;
          Object.assign(jwt.payload, claims && JSON.parse(claims));
          jwt.header = header && JSON.parse(header);
        },
      },
    },
    clientDefaults: { id_token_signed_response_alg: keys[0].alg },
    ttl: { AccessToken: 3600, ClientCredentials: 3600, IdToken: 3600 },
  };
}

function resourceServer(audience, alg) {
  return { audience, scope: '', accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
}

async function tokensForSomebody(ctx) {
  const { provider, client, params } = ctx.oidc;
  const access = new provider.AccessToken({ accountId: params.subject, client, scope: 'openid' });
  access.resourceServer = new provider.ResourceServer(params.resource, resourceServer(params.resource, keys[0].alg));
  ctx.oidc.entity('AccessToken', access);
  const accessToken = await access.save();
  const id = new provider.IdToken({ sub: params.subject }, { ctx });
  id.scope = 'openid';
  id.set('at_hash', accessToken);
  const idToken = await id.issue({ use: 'idtoken' });
  ctx.body = { access_token: accessToken, id_token: idToken, token_type: 'Bearer', expires_in: access.expiration };
}

let keys = [newKey('RS256')];
let handler;
let keyReads = 0;

// The provider takes its keys when it is made.
function open() {
  const provider = new Provider(issuer, configuration(keys));
  const parameters = ['resource', 'subject', 'claims', 'header'];
  provider.on('server_error', (_ctx, error) => console.error(error));
  provider.registerGrantType(FOR_SOMEBODY, tokensForSomebody, parameters);
  const answer = provider.callback();
  handler = (request, response) => {
    if (request.url === '/jwks') keyReads += 1;
    answer(request, response);
  };
}

// A token as somebody makes it who has read the provider's public keys; or as the provider itself would, which makes none like that.
function forge({ signature, header, claims }) {
  const [key] = keys;
  const named = { alg: key.alg, typ: 'at+jwt', kid: key.kid, ...header };
  const text = [named, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  const signatures = {
    provider: () => createSign('RSA-SHA256').update(text).sign({ key, format: 'jwk' }, 'base64url'),
    none: () => '',
    // The public key as the secret of an HMAC.
    publicKey: () => createHmac('sha256', Buffer.from(key.n, 'base64url')).update(text).digest('base64url'),
    stranger: () => {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      return createSign('RSA-SHA256').update(text).sign(privateKey, 'base64url');
    },
  };
  return `${text}.${signatures[signature]()}`;
}

const control = {
  '/control/rotate': ({ keep, alg }) => {
    keys = [newKey(alg ?? 'RS256'), ...(keep ? keys : [])];
    open();
    return { kid: keys[0].kid };
  },
  '/control/forge': (wanted) => ({ token: forge(wanted) }),
  '/control/key-reads': () => ({ keyReads }),
};

async function answerControl(action, request, response) {
  let body = '';
  for await (const part of request) body += part;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(action(JSON.parse(body))));
}

function respond(request, response) {
  const action = control[request.url];
  if (action) answerControl(action, request, response);
  else handler(request, response);
}

const server = tls
  ? https.createServer({ cert: readFileSync(`${tls}/cert.pem`), key: readFileSync(`${tls}/key.pem`) }, respond)
  : http.createServer(respond);
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
open();
console.log(`ready at ${issuer}`);
