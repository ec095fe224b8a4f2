// Codes and reasons come from the tables the server itself uses, so that the page can't drift from them.

import codeTable from "../../../../findings/codes.json";
import reasonTable from "../../../../review/reasons.json";
import type { Code } from "../api/types";

type Name = keyof typeof codeTable.codes;

export function code(name: Name): Code {
  const [value, scheme, meaning] = codeTable.codes[name] as [string, string, string];
  return { value, scheme, meaning };
}

export const sameCode = (a: Code, b: Code): boolean => a.value === b.value && a.scheme === b.scheme;

/** Changes since an earlier study: the server works them out, nobody measures them. */
const CHANGES = [code("diameter-change"), code("volume-change")];
export const isChange = (one: Code): boolean => CHANGES.some((other) => sameCode(one, other));
export const isGrowth = (one: Code): boolean => isChange(one) || sameCode(one, code("volume-doubling-time"));

export interface Reason {
  code: string;
  meaning: string;
  needs_text: boolean;
}

/** Why a finding may be rejected; the nth is chosen by the nth key. */
export const REJECT_REASONS: readonly Reason[] = reasonTable.reject;
export const REASON_KEYS = "123456789abcdefg";

export const reasonOfKey = (key: string): Reason | undefined =>
  key.length === 1 ? REJECT_REASONS[REASON_KEYS.indexOf(key)] : undefined;

export const reasonMeaning = (reason: string | null): string =>
  REJECT_REASONS.find((one) => one.code === reason)?.meaning ?? reason ?? "";

/** What a person can add. */
export const ADDABLE: readonly { name: string; code: Code; site: Code | null }[] = [
  { name: "Nodule of the lung", code: code("nodule"), site: code("lung") },
  { name: "Nodule elsewhere", code: code("nodule"), site: null },
  { name: "Other abnormality (say which)", code: code("morphologically-abnormal"), site: null },
];
