import { useCallback, useRef, useState } from "react";
import type { AuditLine } from "../api/types";

interface Answer {
  total: number;
  items: AuditLine[];
}

export interface Asked<T> {
  answer: T | null;
  error: unknown;
  busy: boolean;
  ask: (load: (offset: number) => Promise<T>) => void;
  more: () => void;
}

/** The answer to the last question and, on demand, its further pages. */
export function useAnswer<T extends Answer>(): Asked<T> {
  const [answer, setAnswer] = useState<T | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const load = useRef<((offset: number) => Promise<T>) | null>(null);

  const step = useCallback((question: (offset: number) => Promise<T>, before: T | null): void => {
    setBusy(true);
    setError(null);
    question(before?.items.length ?? 0).then(
      (page) => {
        if (load.current !== question) return;
        setAnswer(before ? { ...page, items: [...before.items, ...page.items] } : page);
        setBusy(false);
      },
      (problem: unknown) => {
        if (load.current !== question) return;
        if (!before) setAnswer(null);
        setError(problem);
        setBusy(false);
      },
    );
  }, []);

  const ask = useCallback((question: (offset: number) => Promise<T>): void => {
    load.current = question;
    // What was found before is no answer to this.
    setAnswer(null);
    step(question, null);
  }, [step]);
  const more = (): void => {
    if (load.current) step(load.current, answer);
  };
  return { answer, error, busy, ask, more };
}
