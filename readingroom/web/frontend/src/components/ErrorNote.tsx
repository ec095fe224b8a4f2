import { ApiError } from "../api/client";

/** What went wrong and what to do, as the server says it. */
export function ErrorNote({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const known = error instanceof ApiError;
  const message = error instanceof Error ? error.message : "Something went wrong.";
  return (
    <div className="note bad" role="alert" data-testid="error-note">
      {message}
      {known && error.hint && <span className="hint">{error.hint}</span>}
      {onRetry && (
        <span className="row">
          <button type="button" onClick={onRetry}>Try again</button>
        </span>
      )}
    </div>
  );
}
