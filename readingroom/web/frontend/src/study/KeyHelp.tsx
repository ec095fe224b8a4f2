import { Dialog } from "../components/Dialog";

const KEYS: readonly (readonly [string, string])[] = [
  ["j  k", "next, previous finding"],
  ["a", "accept the finding"],
  ["r", "reject it, then the key of the reason"],
  ["e", "edit it: click or arrows to move, drag the ends or type to resize; Enter saves"],
  ["n", "add a finding: then click the image, or Enter for its middle"],
  ["u", "undo the decision, or remove one's own finding"],
  ["f", "no further findings"],
  ["o", "outlines and marks on or off"],
  ["h", "heat map of the chosen finding on or off"],
  ["1 to 5", "window: lung, mediastinum, bone, brain, soft"],
  ["m", "one stack or three planes"],
  ["↑  ↓", "previous, next slice (PageUp, PageDown: ten)"],
  ["0", "whole image again"],
  ["s", "sign"],
  ["c", "what the patient allows: consent"],
  ["Esc", "leave what was begun"],
  ["?", "these keys"],
  ["Mouse", "left drag: window; right drag: zoom; middle or shift drag: pan; wheel: slices; click: go there"],
];

export function KeyHelp({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys" onClose={onClose} testId="key-help">
      <dl className="keys">
        {KEYS.map(([keys, what]) => (
          <div key={keys} className="fact"><dt><kbd>{keys}</kbd></dt><dd>{what}</dd></div>
        ))}
      </dl>
      <div className="actions"><button type="button" onClick={onClose}>Close</button></div>
    </Dialog>
  );
}
