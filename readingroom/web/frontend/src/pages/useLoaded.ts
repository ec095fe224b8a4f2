import { useCallback, useEffect, useState } from "react";

/** What one call answers, its failure, and a way to ask again. */
export function useLoaded<T>(load: () => Promise<T>): { value: T | null; error: unknown; again: () => void } {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<unknown>(null);
  const again = useCallback(() => {
    load().then(
      (answer) => { setValue(answer); setError(null); },
      (problem: unknown) => setError(problem),
    );
  }, [load]);
  useEffect(again, [again]);
  return { value, error, again };
}
