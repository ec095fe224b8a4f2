import { useEffect, useMemo, useState } from "react";

/** The recovery codes, the one time they are shown. */
export function RecoveryCodes({ codes, onDone }: { codes: string[]; onDone: () => void }) {
  const [copied, setCopied] = useState(false);
  const text = `${codes.join("\n")}\n`;
  const file = useMemo(() => URL.createObjectURL(new Blob([text], { type: "text/plain" })), [text]);
  useEffect(() => () => URL.revokeObjectURL(file), [file]);
  return (
    <div className="note warn stack" data-testid="recovery-codes">
      <p>
        <strong>Keep these recovery codes where you keep your passport.</strong> Each signs you in once, in place of the app's
        code, should the phone be lost. They are not shown again.
      </p>
      <ul className="codes">{codes.map((code) => <li key={code}>{code}</li>)}</ul>
      <div className="row">
        <button type="button" onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}>
          {copied ? "Copied" : "Copy"}
        </button>
        <a className="button" href={file} download="reading-room-recovery-codes.txt">Save as a file</a>
        <button type="button" className="primary" onClick={onDone} data-testid="codes-kept">I have kept them</button>
      </div>
    </div>
  );
}
