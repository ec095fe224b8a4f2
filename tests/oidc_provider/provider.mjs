// A certified OpenID provider on loopback for the tests: node provider.mjs PORT CLIENT_ID CLIENT_SECRET PAGES_ADDRESS...
// Whoever gives a name that is in PEOPLE and the password "provider" is that person. PKCE is a must.

import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, clientId, clientSecret, ...pages] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const PASSWORD = "provider";
const PEOPLE = {
  olga: { name: "Olga Example", preferred_username: "olga", groups: ["everybody", "radiology-staff"] },
  adam: { name: "Adam Example", preferred_username: "adam", groups: ["radiology-it"] },
  nora: { name: "Nora Example", preferred_username: "nora", groups: ["everybody"] },
  ann: { name: "Another Ann", preferred_username: "ann", groups: ["radiology-staff"] },
};

const page = (form) => `<!doctype html><html lang="en"><title>Provider</title><body>${form}</body></html>`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: clientId,
    client_secret: clientSecret,
    redirect_uris: pages.map((address) => `${address}/api/v1/session/oidc/back`),
    post_logout_redirect_uris: pages.map((address) => `${address}/`),
    grant_types: ["authorization_code"],
    response_types: ["code"],
  }],
  cookies: { keys: ["tests only"] },
  claims: { openid: ["sub"], profile: ["name", "preferred_username", "groups"] },
  pkce: { required: () => true },
  findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub, ...PEOPLE[sub] }) }),
  interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    rpInitiatedLogout: {
      logoutSource: (context, form) => {
        context.body = page(`${form}<button type="submit" form="op.logoutForm" value="yes" name="logout">Sign out</button>`);
      },
    },
  },
});

async function interaction(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === "consent") {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    const consent = { grantId: await grant.save() };
    return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
  }
  if (request.method === "POST") {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const given = new URLSearchParams(Buffer.concat(chunks).toString());
    const name = given.get("name");
    const known = name in PEOPLE && given.get("password") === PASSWORD;
    const result = known
      ? { login: { accountId: name } }
      : { error: "access_denied", error_description: "not known here" };
    return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }
  response.setHeader("Content-Type", "text/html");
  response.end(page(
    '<form method="post"><input name="name" aria-label="Name"><input name="password" type="password" aria-label="Password">'
    + "<button>Go on</button></form>",
  ));
}

const handle = provider.callback();
createServer((request, response) => {
  if (request.url.startsWith("/interaction/")) interaction(request, response).catch((error) => response.writeHead(500).end(String(error)));
  else handle(request, response);
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
