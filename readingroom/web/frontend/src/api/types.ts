// The JSON of the server, as docs/api.md and the models it names define it. Positions are LPS millimetres.

export interface Code {
  value: string;
  scheme: string;
  meaning: string;
}

export type Point3 = [number, number, number];

export type Place =
  | { type: "patient"; frame_of_reference_uid: string; position_lps_mm: Point3 }
  | { type: "image"; sop_instance_uid: string; frame: number; column: number; row: number }
  | { type: "study" };

export interface Measurement {
  code: Code;
  value: number;
  unit: Code;
  method: string;
}

export interface Axis {
  role: "long" | "short";
  start_lps_mm: Point3;
  end_lps_mm: Point3;
}

export interface SimilarCase {
  /** Its key in the training set. */
  case: string;
  distance: number;
  description: string;
}

export interface Evidence {
  contributions: { feature: string; value: number | null; weight: number }[];
  rule: string;
  heat_map: string;
  similar: SimilarCase[];
  notes: string[];
}

export type SideValue = "left" | "right" | "midline" | null;

export interface Side {
  value: SideValue;
  witnesses: { witness: string; side: SideValue; detail: string }[];
  agree: boolean;
}

export interface Characteristic {
  concept: Code;
  value: Code;
  probability: number | null;
}

/** A category by a published rule, and why. */
export interface Assessment {
  table: string;
  edition: string;
  category: Code;
  rule: string;
  because: string[];
  advice: string;
  missing: string[];
}

/** What a finding was in one earlier study. `found`: null where the two could not be laid over each other. */
export interface Earlier {
  days_before: number;
  found: boolean | null;
  matched_by: "tracking-uid" | "position" | null;
  measurements: Measurement[];
  characteristics: Characteristic[];
  axes: Axis[];
  assessments: Assessment[];
}

/** What a table says of the study: by what people stand behind (`stated`), and by what readers said. */
export interface StudyAssessment {
  table: string;
  edition: string;
  stated: Assessment | null;
  /** Id of the finding whose category the study has. */
  dominant: string;
  unjudged: number;
  readers: { reader: string; version: string; title: string; assessment: Assessment }[];
}

export interface Finding {
  id: string;
  code: Code;
  place: Place;
  probability: number | null;
  measurements: Measurement[];
  characteristics: Characteristic[];
  assessments: Assessment[];
  earlier: Earlier[];
  axes: Axis[];
  side: Side | null;
  site: Code | null;
  evidence: Evidence;
  segment: string;
  series_instance_uid: string;
  tracking_id: string;
  tracking_uid: string;
  comment: string;
}

export type ReaderState =
  | "not-applicable"
  | "queued"
  | "reading"
  | "read-nothing-found"
  | "found"
  | "abstained"
  | "failed"
  | "partial"
  | "superseded";

export interface Reading {
  reader: string;
  version: string;
  state: ReaderState;
  reason: string;
  evidence_level: number;
  operating_point: number | null;
  findings: Finding[];
  study_measurements: Measurement[];
  out_of_domain_score: number | null;
  seconds: Record<string, number>;
}

export interface ReaderSummary {
  reader: string;
  version: string;
  state: ReaderState;
  reason: string;
  progress: number | null;
}

export interface Patient {
  PatientName: string;
  PatientID: string;
  PatientBirthDate: string;
  PatientSex: string;
}

export type ReportState = "none" | "draft" | "final" | "written";

export type UrgentState = "raised" | "shown" | "escalated" | "acknowledged" | "closed";

/** Where the most urgent open alert of a study stands. */
export interface UrgentMark {
  alert_id: string;
  finding: string;
  state: UrgentState;
  acknowledged_by: string;
}

export interface WorklistItem {
  study_id: string;
  patient: Patient;
  AccessionNumber: string;
  StudyDate: string;
  StudyDescription: string;
  modalities: string[];
  instances: number;
  priority: number | string;
  priority_reason: string;
  state: string;
  held: boolean | string;
  simulated: boolean;
  partial: boolean | string;
  project: string;
  restricted: boolean;
  revision: number;
  readers: ReaderSummary[];
  findings: {
    shown: number;
    accepted: number;
    rejected: number;
    undecided: number;
    top_probability: number | null;
  };
  report_state: ReportState;
  tasks: number;
  urgent: UrgentMark | null;
  received_at: string;
  age_seconds: number;
}

export interface Worklist {
  total: number;
  items: WorklistItem[];
  etag: string;
}

export interface Flag {
  code: string;
  text: string;
  blocks_signing: boolean;
  needs_acknowledgement: boolean;
}

export interface StudyImage {
  SOPInstanceUID: string;
  InstanceNumber: number | null;
  frames: number | null;
}

export interface StudySeries {
  SeriesInstanceUID: string;
  SeriesNumber: number | null;
  SeriesDescription: string;
  Modality: string;
  type: Record<string, unknown> | string | null;
  quality: Record<string, number | string>;
  problems: { code: string; detail: string; fatal: boolean }[];
  images: StudyImage[];
}

export interface StudyReading {
  id: number | string;
  reader: string;
  version: string;
  state: ReaderState;
  reason: string;
  progress: number | null;
  evidence_level: number;
  card_title: string;
  seconds: number | Record<string, number> | null;
  body: Reading | null;
}

export type Decision = "undecided" | "accepted" | "edited" | "rejected" | "added";

export interface StudyFinding {
  finding: Finding;
  reading_id: number | string | null;
  reader: string;
  evidence_level: number | null;
  segment_url: string | null;
  heat_map_url: string | null;
  decision: Decision;
  by: string | null;
  at: string | null;
  reason_code: string | null;
  reason_text: string;
  original: Finding | null;
  /** The reader's own, before the rules were applied to what was accepted. */
  said: Assessment[];
}

export interface Task {
  id: number | string;
  kind: string;
  text: string;
  created_at: string;
}

export interface Study extends Omit<WorklistItem, "tasks" | "findings" | "urgent"> {
  StudyInstanceUID: string;
  flags: Flag[];
  series: StudySeries[];
  readings: StudyReading[];
  findings: StudyFinding[];
  assessments: StudyAssessment[];
  no_further_findings: { by: string; at: string } | null;
  context: { said: PatientContext; by: string; at: string } | null;
  tasks: Task[];
  can: string[];
  /** It is open through broken glass, until then. */
  glass_until: string | null;
}

/** What tables ask about patient and study that no image shows. null: nobody said. */
export interface PatientContext {
  screening: boolean | null;
  risk: "low" | "high" | null;
  known_cancer: boolean | null;
  immunosuppressed: boolean | null;
  infection: boolean;
  prior_awaited: boolean;
}

export interface Verdict {
  kind: "accept" | "edit" | "reject" | "add" | "withdraw" | "no-further-findings" | "context";
  reading_id?: number | string | null;
  finding_id?: string;
  after?: Finding;
  context?: PatientContext;
  reason_code?: string;
  reason_text?: string;
  shown_at?: string;
  reading_mode?: string;
  revision: number;
}

export const SECTIONS = ["indication", "technique", "comparison", "findings", "impression"] as const;
export type Section = (typeof SECTIONS)[number];

export interface Report {
  id: number | string;
  study_id: string;
  state: ReportState;
  revision: number;
  etag: string;
  header: Patient & { AccessionNumber: string; StudyDate: string; StudyDescription: string };
  sections: Record<Section, string>;
  items: { finding_id: string; text: string }[];
  partial: boolean | string;
  flags: Flag[];
  signed_by: string | null;
  signed_at: string | null;
  addenda: { number: number; text: string; author: string; at: string }[];
  objects: Record<string, string>;
  deliveries: { peer: string; role: string; state: string; attempts: number; last_error: string | null }[];
  research_notice: string;
}

export interface SegmentRuns {
  series_instance_uid: string;
  offset: Point3;
  shape: Point3;
  sop_instance_uids: string[];
  runs: number[];
}

/** `levels`: base64 of one byte a voxel, 255 being 1.0, over the C-ordered box. */
export interface HeatMapLevels {
  series_instance_uid: string;
  offset: Point3;
  shape: Point3;
  sop_instance_uids: string[];
  levels: string;
}

export interface About {
  name: string;
  version: string;
  research_notice: string;
  viewer_url: string;
  demo: boolean;
  /** No account exists yet. */
  set_up_owed: boolean;
  /** What the OpenID provider is called, where there is one. */
  provider: string | null;
  /** Why this browser can use no passkey here; empty where it can. */
  no_passkeys: string;
  storescu?: string;
}

export interface Account {
  name: string;
  display_name: string;
  role: string;
  permissions: string[];
  /** Until a second factor is set up, nothing else can be done. */
  second_factor_owed: boolean;
  /** The password was given by somebody else: another must be chosen first. */
  password_owed: boolean;
}

export interface Session {
  account: Account | null;
  csrf?: string;
  /** The password was right; the ticket is good for the code that is still owed. */
  code_owed?: string;
}

export interface MyAccount {
  name: string;
  has_password: boolean;
  app: boolean;
  recovery_codes_left: number;
  required: boolean;
  passkeys: PasskeyInfo[];
}

export interface PasskeyInfo {
  id: string;
  name: string;
  rp_id: string;
  created_at: string;
  used_at: string | null;
}

/** What a passkey is asked, and the ticket that its answer goes back with. */
export interface PasskeyQuestion<Options> {
  ticket: string;
  options: Options;
}

export interface Metric {
  value: number;
  /** Both null where no interval could be had (one of the two classes is missing from the resampled cases). */
  ci95?: [number, number] | [null, null] | null;
  n?: number;
}

export interface Card {
  name: string;
  version: string;
  title: string;
  question: string;
  takes: string;
  finds: Code[];
  evidence_level: number;
  evidence: string;
  operating_point: number | null;
  limits: string[];
  weights: Record<string, string>;
  weights_licence: string;
  data: string[];
  metrics: Record<string, unknown>;
  reader_licence: string;
}

/** In place of a card: a reader that could not be loaded, and why. */
export interface BrokenReader {
  name: string;
  version: string;
  error: string;
}

export interface QuarantineItem {
  id: number | string;
  code: string;
  reason: string;
  source: string;
  received_at: string;
  size: number;
}

export interface ImportSummary {
  accepted: number;
  duplicates: number;
  corrected: number;
  quarantined: { name_hash: string; code: string; reason: string }[];
}

export type Purpose = "care" | "research" | "training" | "teaching";
export type ConsentKind = "given" | "refused" | "withdrawn" | "expired";

/** One decision as it was written down. */
export interface ConsentLine {
  kind: ConsentKind;
  basis: string;
  reference: string;
  source: string;
  actor: string;
  starts_at: string;
  ends_at: string | null;
  recorded_at: string;
}

/** What was made or learned from the patient's data. */
export interface PatientUse {
  room: string;
  what: string;
  ref: string;
  actor: string;
  at: string;
  removed_at: string | null;
}

export interface PurposeState {
  purpose: Purpose;
  allowed: boolean;
  /** null: the patient has decided nothing. */
  kind: ConsentKind | null;
  basis: string;
  reason: string;
  since: string | null;
  until: string | null;
  /** Newest first. */
  history: ConsentLine[];
  uses: PatientUse[];
}

export interface LegalBasis {
  code: string;
  title: string;
  text: string;
  source: string;
  purposes: Purpose[];
  default: boolean;
  needs_reference: boolean;
}

export interface Consent {
  purposes: PurposeState[];
  bases: LegalBasis[];
}

/** A decision to write down. Days are `2026-01-31`, at the site. */
export interface Decided {
  kind: "given" | "refused" | "withdrawn";
  purposes: Purpose[];
  basis?: string;
  reference?: string;
  decided_on?: string | null;
  until?: string | null;
}

/** How far the audit is written, sealed, looked through and sent. */
export interface AuditState {
  events: number;
  last_at: string | null;
  sealed: { event: number; at: string } | null;
  /** The worker's last look at the whole of it; `problem` is empty where the chain is intact. */
  checked: { event: number; at: string; problem: string } | null;
  /** null: it is sent nowhere. */
  sent: { waiting: number; at: string | null; last_error: string } | null;
  accounts: { name: string; display_name: string }[];
}

export type Outcome = "success" | "failure" | "refused" | "compromised";

export interface AuditLine {
  number: number;
  at: string;
  actor: string;
  display_name: string;
  host: string;
  action: string;
  words: string;
  kind: string;
  outcome: Outcome;
  study: { study_id: string; patient: Patient; StudyDate: string; StudyDescription: string } | null;
  detail: Record<string, unknown>;
}

export interface AuditPerson {
  actor: string;
  display_name: string;
  role: string;
  times: number;
  first: string;
  last: string;
}

export interface PersonActions {
  total: number;
  items: AuditLine[];
}

export interface PatientAccess extends PersonActions {
  patients: Patient[];
  people: AuditPerson[];
}
