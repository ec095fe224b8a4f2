// Words and times of alerts. Pure; tested in tests/urgent.test.ts.

import type { UrgentTimes } from "../api/urgent";
import { age } from "../format";

/** The stops of an urgent finding's way, in order. */
export const STOPS: { key: keyof UrgentTimes; name: string }[] = [
  { key: "received", name: "Received" },
  { key: "read", name: "Read by AI" },
  { key: "raised", name: "Alerted" },
  { key: "shown", name: "Shown" },
  { key: "acknowledged", name: "Acknowledged" },
  { key: "signed", name: "Signed" },
];

export const CLOSED_WHY: Record<string, string> = {
  signed: "the report is signed",
  rejected: "rejected by a reader of the study",
  "raised-again": "raised again by later images",
  "not-found-again": "not found again in later images",
};

/** `+40 s`, `+12 min`: how long after the first image. */
export function sinceReceived(received: string, at: string): string {
  return `+${age((Date.parse(at) - Date.parse(received)) / 1000)}`;
}
