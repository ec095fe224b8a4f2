// A series as the viewer needs it: its image ids in order of position, their planes, and whether planes can be cut
// through it. Made from DICOMweb metadata, which is handed on to the image loader.

import { cache, Enums, getWebWorkerManager, imageLoader, utilities, volumeLoader } from "@cornerstonejs/core";
import { wadors } from "@cornerstonejs/dicom-image-loader";
import type { Point3 } from "../api/types";
import { ApiError } from "../api/client";
import { renderingEngine } from "./cornerstone";
import { type Plane, reasonAgainstStack, sortPlanes } from "./geometry";

type DicomJson = Record<string, { vr: string; Value?: unknown[] }>;

export interface LoadedSeries {
  seriesInstanceUid: string;
  imageIds: string[];
  /** By position in `imageIds`; null where the image has no place in the patient. */
  planes: (Plane | null)[];
  bySop: Map<string, Plane>;
  /** Why no three planes can be shown; empty where they can. */
  noPlanesBecause: string;
}

const PREFETCH_AT_ONCE = 4;
const IMAGE_TIME_LIMIT_MS = 45_000;
const DECODERS = "dicomImageLoader";
const METADATA_TIME_LIMIT_MS = 60_000;

const numbers = (item: DicomJson, tag: string): number[] => (item[tag]?.Value ?? []).map(Number);
const text = (item: DicomJson, tag: string): string => String(item[tag]?.Value?.[0] ?? "");

/** Plane of a single-frame image; null where a needed attribute is missing. */
export function planeOf(item: DicomJson, imageId: string): Plane | null {
  const position = numbers(item, "00200032");
  const orientation = numbers(item, "00200037");
  const spacing = numbers(item, "00280030");
  const all = [...position, ...orientation, ...spacing];
  if (all.length !== 11 || all.some((n) => !Number.isFinite(n))) return null;
  return {
    sopInstanceUid: text(item, "00080018"),
    imageId,
    instanceNumber: item["00200013"]?.Value ? Number(text(item, "00200013")) : null,
    position: position as Point3,
    alongRow: orientation.slice(0, 3) as Point3,
    alongColumn: orientation.slice(3) as Point3,
    rowSpacing: spacing[0] as number,
    columnSpacing: spacing[1] as number,
    rows: numbers(item, "00280010")[0] ?? 0,
    columns: numbers(item, "00280011")[0] ?? 0,
    frameOfReferenceUid: text(item, "00200052"),
  };
}

/** Load the series' metadata. `order`: SOP Instance UIDs to show, in the server's order. Throws ApiError. */
export async function loadSeries(studyUid: string, seriesUid: string, order: readonly string[]): Promise<LoadedSeries> {
  // Started first: starting the loader later would forget the metadata handed to it here.
  renderingEngine();
  const base = `${window.location.origin}/dicomweb/studies/${studyUid}/series/${seriesUid}`;
  let items: DicomJson[];
  try {
    const response = await fetch(`${base}/metadata`, {
      headers: { Accept: "application/dicom+json" },
      credentials: "same-origin",
      signal: AbortSignal.timeout(METADATA_TIME_LIMIT_MS),
    });
    if (!response.ok) throw new ApiError(response.status, "metadata", `The server answered ${response.status} for this series.`, "Try again, or open another series.");
    items = (await response.json()) as DicomJson[];
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(0, "metadata", "The series could not be loaded.", "Check the connection and try again.");
  }
  const bySopItem = new Map(items.map((item) => [text(item, "00080018"), item]));
  const listed = order.filter((sop) => bySopItem.has(sop));
  const sops = listed.length ? listed : [...bySopItem.keys()];
  const entries: { imageId: string; plane: Plane | null }[] = [];
  for (const sop of sops) {
    const item = bySopItem.get(sop) as DicomJson;
    const frames = Number(text(item, "00280008")) || 1;
    for (let frame = 1; frame <= frames; frame += 1) {
      const imageId = `wadors:${base}/instances/${sop}/frames/${frame}`;
      wadors.metaDataManager.add(imageId, item as never);
      entries.push({ imageId, plane: frames === 1 ? planeOf(item, imageId) : null });
    }
  }
  const planes = entries.map((entry) => entry.plane).filter((plane) => plane !== null);
  if (planes.length === entries.length && planes.length > 0) {
    const sorted = sortPlanes(planes);
    return finish(seriesUid, sorted.map((plane) => plane.imageId), sorted);
  }
  return finish(seriesUid, entries.map((entry) => entry.imageId), entries.map((entry) => entry.plane));
}

function finish(seriesInstanceUid: string, imageIds: string[], planes: (Plane | null)[]): LoadedSeries {
  const known = planes.filter((plane) => plane !== null);
  return {
    seriesInstanceUid,
    imageIds,
    planes,
    bySop: new Map(known.map((plane) => [plane.sopInstanceUid, plane])),
    noPlanesBecause: reasonAgainstPlanes(imageIds, planes),
  };
}

function reasonAgainstPlanes(imageIds: string[], planes: (Plane | null)[]): string {
  const known = planes.filter((plane) => plane !== null);
  if (known.length < planes.length) return "these images have no position in the patient";
  if (imageIds.length < 5) return "there are too few images";
  try {
    // The engine looks at directions and sizes only.
    return utilities.isValidVolume(imageIds) ? reasonAgainstStack(known) : "the images do not make one regular volume";
  } catch {
    return "the images do not make one regular volume";
  }
}

/** Id of the series' volume, made once; its voxels come from the images as they load. */
export async function volumeOf(series: LoadedSeries): Promise<string> {
  const volumeId = `cornerstoneStreamingImageVolume:${series.seriesInstanceUid}`;
  if (!cache.getVolume(volumeId)) {
    const volume = await volumeLoader.createAndCacheVolume(volumeId, { imageIds: series.imageIds });
    void (volume as unknown as { load: () => void }).load();
  }
  return volumeId;
}

export interface Loading {
  done: number;
  failed: Map<string, string>;
  total: number;
}

/** Load every image, those near `first` before the others; tells progress; stops when the returned function is called. */
export function prefetch(series: LoadedSeries, first: number, tell: (loading: Loading) => void): () => void {
  const order = series.imageIds
    .map((imageId, index) => ({ imageId, away: Math.abs(index - first) }))
    .sort((a, b) => a.away - b.away);
  const loading: Loading = { done: 0, failed: new Map(), total: order.length };
  const overdue = new Set<string>();
  let stopped = false;
  const worker = async (): Promise<void> => {
    while (!stopped) {
      const next = order.shift();
      if (!next) return;
      const outcome = await loadInTime(next.imageId);
      if (outcome === "overdue" && !overdue.has(next.imageId)) {
        // It may only have waited behind another image that never ends: once more, after all the others.
        overdue.add(next.imageId);
        order.push(next);
        continue;
      }
      if (outcome === "loaded") loading.done += 1;
      else loading.failed.set(next.imageId, outcome === "overdue" ? "it took too long" : outcome.reason);
      if (!stopped) tell({ ...loading, failed: new Map(loading.failed) });
    }
  };
  for (let n = 0; n < PREFETCH_AT_ONCE; n += 1) void worker();
  return () => {
    stopped = true;
  };
}

/** Load one image. A decoder can hang on a damaged image: after the time limit its workers are ended and made anew. */
async function loadInTime(imageId: string): Promise<"loaded" | "overdue" | { reason: string }> {
  let timer = 0;
  const limit = new Promise<"overdue">((resolve) => {
    timer = window.setTimeout(() => resolve("overdue"), IMAGE_TIME_LIMIT_MS);
  });
  const options = { requestType: Enums.RequestType.Prefetch, priority: 0 };
  const load = Promise.resolve(imageLoader.loadAndCacheImage(imageId, options as never)).then(
    () => "loaded" as const,
    (error: unknown) => ({ reason: reasonOf(error) }),
  );
  const outcome = await Promise.race([load, limit]);
  window.clearTimeout(timer);
  if (outcome === "overdue") {
    getWebWorkerManager().terminate(DECODERS);
    if (cache.getImageLoadObject(imageId)) cache.removeImageLoadObject(imageId, { force: true });
  }
  return outcome;
}

/** What went wrong with an image, in words: the loader rejects with a request, an Error, or an object that holds one. */
export function reasonOf(error: unknown): string {
  const inner = (error as { error?: unknown })?.error ?? error;
  if (inner instanceof XMLHttpRequest) return inner.status ? `the server answered ${inner.status}` : "no answer from the server";
  if (inner instanceof Error) return inner.message;
  return "it could not be decoded";
}
