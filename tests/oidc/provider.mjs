// An identity provider for the tests of logins: oidc-provider, with one client and one person at a
// time. Prints its issuer, then serves until it is ended. The test says over /control who signs in
// (`sub`, `group`) and where the client is (`redirect`), and lets the provider change its keys (`restart`).
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";

import Provider from "oidc-provider";

let redirect = "http://127.0.0.1:1/login/callback";
let person = { sub: "unknown", groups: [] };
let keys = 0;
let provider;

function key() {
  keys += 1;
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), kid: `key-${keys}`, use: "sig", alg: "ES256" };
}

// A provider with a key of its own. The records of all of them are in one memory.
function start(issuer) {
  provider = new Provider(issuer, {
    jwks: { keys: [key()] },
    cookies: { keys: ["a key of the test"] },
    clients: [
      {
        client_id: "sagabox",
        client_secret: "a secret of the test",
        redirect_uris: [redirect],
        id_token_signed_response_alg: "ES256",
      },
    ],
    claims: { openid: ["sub"], email: ["email"], groups: ["groups"] },
    scopes: ["openid", "email", "groups"],
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, accountId) => ({
      accountId,
      claims: () => ({ sub: accountId, email: `${accountId}@example.com`, groups: person.groups }),
    }),
    // Each client may have what it asks for.
    loadExistingGrant: async (context) => {
      const { client, session } = context.oidc;
      const grant = new context.oidc.provider.Grant({
        accountId: session.accountId,
        clientId: client.clientId,
      });
      grant.addOIDCScope("openid email groups");
      await grant.save();
      return grant;
    },
  });
}

async function answer(request, response) {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/control") {
    if (url.searchParams.has("sub")) {
      person = { sub: url.searchParams.get("sub"), groups: url.searchParams.getAll("group") };
    }
    if (url.searchParams.has("redirect")) redirect = url.searchParams.get("redirect");
    // Another provider with the same records: other keys, and the client as it is now.
    if (url.searchParams.has("restart")) start(provider.issuer);
    response.end();
    return;
  }
  if (url.pathname.startsWith("/interaction/")) {
    const login = { accountId: person.sub };
    await provider.interactionFinished(request, response, { login });
    return;
  }
  provider.callback()(request, response);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end(String(error));
  });
});
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  start(issuer);
  console.log(issuer);
});
