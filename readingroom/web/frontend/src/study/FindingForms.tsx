// The forms inside the list: why a finding is rejected, and what is changed or added.

import { type FormEvent, useEffect, useRef, useState } from "react";
import type { Finding, SideValue } from "../api/types";
import { unitText } from "../format";
import { ADDABLE, isGrowth, REASON_KEYS, REJECT_REASONS } from "./codes";
import { measure, withSide } from "./drafts";

export function RejectForm({ waitingForText, onReason, onCancel, busy }: {
  waitingForText: string | null;
  onReason: (code: string, text: string) => void;
  onCancel: () => void;
  busy: boolean;
}) {
  const [text, setText] = useState("");
  const form = useRef<HTMLFormElement>(null);
  // All reasons are to be seen: the form may begin below the end of the list.
  useEffect(() => {
    form.current?.scrollIntoView({ block: "nearest" });
  }, []);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (waitingForText && text.trim()) onReason(waitingForText, text.trim());
  };
  return (
    <form ref={form} onSubmit={submit} data-testid="reject-form">
      <fieldset className="reasons" disabled={busy}>
        <legend className="muted">Why is it rejected?</legend>
        {REJECT_REASONS.map((reason, index) => (
          <button
            key={reason.code} type="button" data-testid={`reject-reason-${reason.code}`}
            aria-pressed={waitingForText === reason.code} onClick={() => onReason(reason.code, text.trim())}
          >
            <kbd>{REASON_KEYS[index]}</kbd> {reason.meaning}
          </button>
        ))}
        {waitingForText && (
          <label className="field">
            In a few words
            <input value={text} onChange={(event) => setText(event.target.value)} autoFocus maxLength={2000} data-testid="reject-text" />
          </label>
        )}
        <div className="decisions">
          {waitingForText && <button type="submit" className="primary" disabled={!text.trim()}>Reject</button>}
          <button type="button" className="quiet" onClick={onCancel}>Cancel <kbd>Esc</kbd></button>
        </div>
      </fieldset>
    </form>
  );
}

const SIDES: { value: string; side: SideValue }[] = [
  { value: "left", side: "left" },
  { value: "right", side: "right" },
  { value: "midline", side: "midline" },
  { value: "", side: null },
];

/** Measures, side and comment of a finding being edited or added; its place is changed on the images. */
export function EditForm({ draft, adding, onChange, onSave, onCancel, busy }: {
  draft: Finding;
  adding: boolean;
  onChange: (draft: Finding) => void;
  onSave: () => void;
  onCancel: () => void;
  busy: boolean;
}) {
  const needsComment = adding && draft.code.value === ADDABLE[2]?.code.value && !draft.comment.trim();
  return (
    <form onSubmit={(event) => { event.preventDefault(); if (!needsComment) onSave(); }} data-testid="edit-form">
      <p className="muted">Click an image, or press the arrows, to move it; drag the yellow ends, or type, to resize it.</p>
      <div className="edit-fields">
        {draft.measurements.map((measurement, index) => !isGrowth(measurement.code) && (
          <Amount
            key={index} name={measurement.code.meaning} unit={unitText(measurement.unit)} value={measurement.value}
            onChange={(value) => onChange(measure(draft, index, value))}
          />
        ))}
        <label htmlFor="edit-side">Side</label>
        <select
          id="edit-side" value={draft.side?.value ?? ""}
          onChange={(event) => onChange(withSide(draft, SIDES.find((one) => one.value === event.target.value)?.side ?? null))}
        >
          {SIDES.map((one) => <option key={one.value} value={one.value}>{one.value || "not said"}</option>)}
        </select>
        <label className="field wide">
          Comment{needsComment && " (say which abnormality)"}
          <input value={draft.comment} onChange={(event) => onChange({ ...draft, comment: event.target.value })} maxLength={500} data-testid="edit-comment" />
        </label>
      </div>
      <div className="decisions">
        <button type="submit" className="primary" disabled={busy || needsComment} data-testid="edit-save">{adding ? "Add" : "Save"} <kbd>Enter</kbd></button>
        <button type="button" className="quiet" onClick={onCancel} data-testid="edit-cancel">Cancel <kbd>Esc</kbd></button>
      </div>
    </form>
  );
}

function Amount({ name, unit, value, onChange }: { name: string; unit: string; value: number; onChange: (value: number) => void }) {
  const [text, setText] = useState<string | null>(null);
  const id = `measure-${name.replaceAll(" ", "-").toLowerCase()}`;
  return (
    <>
      <label htmlFor={id}>{name}{unit && ` (${unit})`}</label>
      <input
        id={id} inputMode="decimal" data-testid={id} value={text ?? String(Math.round(value * 100) / 100)}
        onChange={(event) => {
          setText(event.target.value);
          const typed = Number(event.target.value.replace(",", "."));
          if (event.target.value.trim() && Number.isFinite(typed)) onChange(typed);
        }}
        onBlur={() => setText(null)}
      />
    </>
  );
}

/** Asks for a place, a type and a size before a finding of one's own is there. */
export function AddForm({ type, millimetres, onType, onSize, onCancel }: {
  type: number;
  millimetres: number;
  onType: (type: number) => void;
  onSize: (millimetres: number) => void;
  onCancel: () => void;
}) {
  return (
    <div className="finding selected">
      <div className="details" data-testid="add-form">
        <p role="status"><strong>Click the image where the finding is</strong>, or press Enter for the middle.</p>
        <div className="edit-fields">
          <label htmlFor="add-type" className="visually-hidden">Type</label>
          <select id="add-type" className="wide" value={type} onChange={(event) => onType(Number(event.target.value))}>
            {ADDABLE.map((one, index) => <option key={one.name} value={index}>{one.name}</option>)}
          </select>
          <label htmlFor="add-size">Size (mm)</label>
          <input
            id="add-size" type="number" min={1} max={200} value={millimetres} data-testid="add-size"
            onChange={(event) => onSize(Math.min(200, Math.max(1, Number(event.target.value) || 1)))}
          />
        </div>
        <div className="decisions"><button type="button" className="quiet" onClick={onCancel}>Cancel <kbd>Esc</kbd></button></div>
      </div>
    </div>
  );
}
