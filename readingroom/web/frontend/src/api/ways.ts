// Calls about the ways in: passkeys, codes, the OpenID provider, the first administrator, and my account.

import { ApiError, json, kept } from "./client";
import type { MyAccount, PasskeyInfo, PasskeyQuestion, Session } from "./types";

type Creation = PasskeyQuestion<PublicKeyCredentialCreationOptionsJSON>;
type Request = PasskeyQuestion<PublicKeyCredentialRequestOptionsJSON>;

export const passkeysKnown = (): boolean =>
  typeof PublicKeyCredential !== "undefined" && "parseRequestOptionsFromJSON" in PublicKeyCredential;

/** Ask the device; its refusals become sentences. */
async function device(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const credential = await ask();
    if (credential instanceof PublicKeyCredential) return credential;
  } catch (error) {
    if (error instanceof DOMException && error.name === "InvalidStateError") {
      throw new ApiError(0, "passkey-known", "This device has a passkey of this account already.", "Use another device.");
    }
  }
  throw new ApiError(0, "passkey-not-used", "No passkey was used.", "Try again, or take another way.");
}

async function make(question: Creation): Promise<unknown> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(question.options);
  return (await device(() => navigator.credentials.create({ publicKey }))).toJSON();
}

async function sign(question: Request): Promise<unknown> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(question.options);
  return (await device(() => navigator.credentials.get({ publicKey }))).toJSON();
}

export const ways = {
  code: async (ticket: string, code: string) => kept(await json<Session>("POST", "/session/code", { ticket, code })),
  async passkey(): Promise<Session> {
    const question = await json<Request>("POST", "/session/passkey/question");
    const credential = await sign(question);
    return kept(await json<Session>("POST", "/session/passkey", { ticket: question.ticket, credential }));
  },
  /** Leave for the provider; the browser comes back to the page it is on. */
  async provider(path: "/session/oidc" | "/session/proof/oidc"): Promise<void> {
    const { url } = await json<{ url: string }>("POST", path, { back: window.location.pathname });
    window.location.assign(url);
  },
  setUp: async (body: { token: string; name: string; display_name: string; password: string }) =>
    kept(await json<Session>("POST", "/set-up", body)),

  prove: (proof: { password: string } | { code: string }) => json<void>("POST", "/session/proof", proof),
  async proveByPasskey(): Promise<void> {
    const question = await json<Request>("POST", "/session/proof/passkey/question");
    const credential = await sign(question);
    await json<void>("POST", "/session/proof/passkey", { ticket: question.ticket, credential });
  },

  mine: () => json<MyAccount>("GET", "/account"),
  changePassword: (current: string, wanted: string) => json<void>("PUT", "/account/password", { current, new: wanted }),
  beginApp: () => json<{ secret: string; uri: string; qr: string }>("POST", "/account/app"),
  confirmApp: (code: string) => json<{ recovery_codes: string[] }>("POST", "/account/app/confirm", { code }),
  removeApp: () => json<void>("DELETE", "/account/app"),
  newRecoveryCodes: () => json<{ recovery_codes: string[] }>("POST", "/account/recovery-codes"),
  async addPasskey(name: string): Promise<PasskeyInfo> {
    const question = await json<Creation>("POST", "/account/passkeys/question");
    const credential = await make(question);
    return json<PasskeyInfo>("POST", "/account/passkeys", { ticket: question.ticket, name, credential });
  },
  removePasskey: (id: string) => json<void>("DELETE", `/account/passkeys/${encodeURIComponent(id)}`),
};
