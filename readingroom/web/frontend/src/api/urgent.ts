// Calls about urgent findings: what waits for somebody, and telling that it was shown or is seen to.

import { changed, json } from "./client";
import type { UrgentState } from "./types";

export interface UrgentTimes {
  received: string;
  read: string | null;
  raised: string;
  shown: string | null;
  acknowledged: string | null;
  signed: string | null;
}

export interface UrgentAlert {
  alert_id: string;
  study_id: string;
  StudyDescription: string;
  simulated: boolean;
  /** In words, with the probability. */
  finding: string;
  reader: string;
  state: UrgentState;
  waiting: boolean;
  /** How often it has been escalated. */
  step: number;
  shown_to: string;
  acknowledged_by: string;
  closed_why: string;
  times: UrgentTimes;
  /** A page has shown it to me. */
  told: boolean;
  may_acknowledge: boolean;
}

export interface UrgentList {
  waiting: number;
  items: UrgentAlert[];
}

const alert = (one: UrgentAlert): string => `/studies/${encodeURIComponent(one.study_id)}/urgent/${encodeURIComponent(one.alert_id)}`;

export const urgent = {
  waiting: (etag: string) => changed<UrgentList>("/urgent", etag),
  everything: () => json<UrgentList>("GET", "/urgent?everything=true"),
  shown: (one: UrgentAlert) => json<void>("POST", `${alert(one)}/shown`),
  acknowledge: (one: UrgentAlert) => json<void>("POST", `${alert(one)}/acknowledge`),
};
