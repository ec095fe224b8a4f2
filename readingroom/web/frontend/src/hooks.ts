// Two habits of the pages: asking again and again without overlap, and keyboard shortcuts that stay out of text fields.

import { useEffect, useRef } from "react";

/** Call `work` now and then `everyMs` after each end, while the page is visible; `deps` start it anew. */
export function usePolling(work: () => Promise<void>, everyMs: number, deps: readonly unknown[]): void {
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => {
    let stopped = false;
    let timer = 0;
    const step = async (): Promise<void> => {
      if (document.visibilityState === "visible") await latest.current();
      if (!stopped) timer = window.setTimeout(() => void step(), everyMs);
    };
    void step();
    return () => {
      stopped = true;
      window.clearTimeout(timer);
    };
    // The caller names what starts the polling anew.
  }, [everyMs, ...deps]);
}

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
}

/** `onKey` gets the keys that no text field, open dialog or modifier claims; it returns true for those it used. */
export function useKeys(onKey: (key: string, event: KeyboardEvent) => boolean, active = true): void {
  const latest = useRef(onKey);
  latest.current = onKey;
  useEffect(() => {
    if (!active) return;
    const listener = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (typing(event.target)) {
        // Escape leaves the field, so that the keys are the page's again.
        if (event.key === "Escape") (event.target as HTMLElement).blur();
        else return;
      }
      if (document.querySelector("dialog[open]")) return;
      const onControl = event.target instanceof HTMLElement && ["BUTTON", "A", "SUMMARY"].includes(event.target.tagName);
      if (onControl && (event.key === "Enter" || event.key === " ")) return;
      if (latest.current(event.key, event)) event.preventDefault();
    };
    // Captured: the images' engine claims the keys pressed on them.
    window.addEventListener("keydown", listener, true);
    return () => window.removeEventListener("keydown", listener, true);
  }, [active]);
}
