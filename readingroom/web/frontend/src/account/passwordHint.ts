// What is said beside a new password while it is typed. The server decides; this only spares a round trip.

export const MINIMUM_LENGTH = 12;
const LONG = 20;
const FEWEST_DIFFERENT = 5;

export interface Hint {
  words: string;
  tone: "muted" | "warn" | "good";
}

export function passwordHint(password: string, name: string): Hint {
  if (!password) return { words: `At least ${MINIMUM_LENGTH} characters. A few words of your own do well.`, tone: "muted" };
  if (password.length < MINIMUM_LENGTH) {
    const missing = MINIMUM_LENGTH - password.length;
    return { words: `${missing} more ${missing === 1 ? "character" : "characters"}.`, tone: "muted" };
  }
  const plain = password.toLowerCase();
  if (new Set(plain).size < FEWEST_DIFFERENT) return { words: "Too few different characters.", tone: "warn" };
  if (name.length > 2 && plain.includes(name.toLowerCase())) return { words: "Better without the account's name.", tone: "warn" };
  return password.length >= LONG ? { words: "Good: long.", tone: "good" } : { words: "Long enough. Longer is better.", tone: "muted" };
}
