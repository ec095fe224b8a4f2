// What waits for somebody, asked for every two seconds wherever one is, and told to the server as shown.

import { useCallback, useEffect, useRef, useState } from "react";
import { may } from "../api/client";
import type { Account } from "../api/types";
import { urgent, type UrgentAlert } from "../api/urgent";
import { usePolling } from "../hooks";

const POLL_MS = 2000;

export interface Urgency {
  waiting: number;
  items: UrgentAlert[];
  /** Why nothing is known now: a list that cannot be asked for must not look empty. */
  error: unknown;
  refused: unknown;
  acknowledge: (one: UrgentAlert) => void;
}

export function useUrgent(account: Account | null): Urgency {
  const [items, setItems] = useState<UrgentAlert[]>([]);
  const [error, setError] = useState<unknown>(null);
  const [refused, setRefused] = useState<unknown>(null);
  const etag = useRef("");
  const told = useRef(new Set<string>());
  const watches = may(account, "study:query") && !account?.second_factor_owed && !account?.password_owed;

  const ask = useCallback(async () => {
    if (!watches) return;
    try {
      const found = await urgent.waiting(etag.current);
      setError(null);
      if (!found) return;
      etag.current = found.etag;
      setItems(found.value.items);
    } catch (problem) {
      setError(problem);
    }
  }, [watches]);
  usePolling(ask, POLL_MS, [watches]);

  useEffect(() => {
    for (const one of items) {
      if (one.told || !one.may_acknowledge || told.current.has(one.alert_id)) continue;
      told.current.add(one.alert_id);
      // What could not be told is told again with the next list.
      urgent.shown(one).catch(() => told.current.delete(one.alert_id));
    }
  }, [items]);

  const acknowledge = useCallback((one: UrgentAlert) => {
    setRefused(null);
    urgent.acknowledge(one).then(ask, (problem: unknown) => { setRefused(problem); void ask(); });
  }, [ask]);
  return watches ? { waiting: items.length, items, error, refused, acknowledge } : { waiting: 0, items: [], error: null, refused: null, acknowledge };
}
