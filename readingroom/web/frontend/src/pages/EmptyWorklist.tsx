import { useEffect, useState } from "react";
import { api, may } from "../api/client";
import type { About, Account } from "../api/types";

/** What an empty list means, and how to get a study in. */
export function EmptyWorklist({ about, account, filtered, status }: {
  about: About | null;
  account: Account;
  filtered: boolean;
  status: string;
}) {
  const [line, setLine] = useState(about?.storescu ?? "");
  useEffect(() => {
    if (line || filtered || !may(account, "system:read")) return;
    api.system().then((system) => setLine(storescuLine(system)), () => undefined);
  }, [line, filtered, account]);

  if (may(account, "account:manage")) {
    return (
      <div className="empty" data-testid="worklist-empty">
        <h2>No studies, as it should be</h2>
        <p>Administrators run the house and see no patient's study. In an emergency, <em>Emergency access</em> above opens one for an hour.</p>
      </div>
    );
  }
  if (filtered) {
    return <div className="empty" data-testid="worklist-empty"><p>No study matches ({status}).</p></div>;
  }
  return (
    <div className="empty" data-testid="worklist-empty">
      <h2>No studies yet</h2>
      <p>Send one over DICOM; it shows here within seconds and is read once no image has come for a while.</p>
      <pre className="command">{line || `storescu -aec READINGROOM ${window.location.hostname} 11112 +sd +r FOLDER`}</pre>
      <p>Or drop DICOM files or a zip on <em>Import</em> above, or run <code>readingroom import PATH</code>.</p>
    </div>
  );
}

function storescuLine(system: Record<string, unknown>): string {
  const dimse = system.dicom as { port?: number; aet?: string } | undefined;
  if (!dimse?.port) return "";
  return `storescu -aec ${dimse.aet ?? "READINGROOM"} ${window.location.hostname} ${dimse.port} +sd +r FOLDER`;
}
