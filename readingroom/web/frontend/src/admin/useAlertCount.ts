import { useCallback, useState } from "react";
import { access } from "../api/access";
import { may } from "../api/client";
import type { Account } from "../api/types";
import { usePolling } from "../hooks";

const POLL_MS = 30_000;

/** How many alerts wait, for whoever may see them; asked for now and then. */
export function useAlertCount(account: Account | null): { open: number; again: () => void } {
  const [open, setOpen] = useState(0);
  const watches = may(account, "alert:read");
  const ask = useCallback(async () => {
    // A failure is told where alerts are looked at; the bar keeps the last number.
    if (watches) await access.alerts().then((found) => setOpen(found.open), () => undefined);
  }, [watches]);
  usePolling(ask, POLL_MS, [watches]);
  return { open: watches ? open : 0, again: () => void ask() };
}
