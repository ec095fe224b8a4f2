// One viewport: a stack of images or one plane through a volume. Wraps the engine's viewport so that the components
// speak of places in the patient and never of cameras.

import { Enums, type RenderingEngine, type Types } from "@cornerstonejs/core";
import type { Point3 } from "../api/types";
import { addMouseTo, removeMouseFrom } from "./cornerstone";
import { add, dot, nearestPlane, normalOf, scale, subtract, unit } from "./geometry";
import type { LoadedSeries } from "./series";

export type PaneKind = "stack" | "axial" | "sagittal" | "coronal";

export interface Window {
  center: number;
  width: number;
}

export class Pane {
  private ready = false;
  private closed = false;
  private jump: Point3 | null = null;

  constructor(
    private readonly engine: RenderingEngine,
    readonly id: string,
    readonly kind: PaneKind,
    readonly element: HTMLDivElement,
    private readonly series: LoadedSeries,
  ) {
    const orientations = {
      stack: undefined,
      axial: Enums.OrientationAxis.AXIAL,
      sagittal: Enums.OrientationAxis.SAGITTAL,
      coronal: Enums.OrientationAxis.CORONAL,
    };
    engine.enableElement({
      viewportId: id,
      element,
      type: kind === "stack" ? Enums.ViewportType.STACK : Enums.ViewportType.ORTHOGRAPHIC,
      defaultOptions: { background: [0, 0, 0], orientation: orientations[kind] },
    });
    addMouseTo(id);
  }

  async showStack(index: number): Promise<void> {
    // One bad image must not close the stack: the others are still there to scroll to.
    await this.stack()?.setStack(this.series.imageIds, index).catch(() => undefined);
    this.begin();
  }

  async showVolume(volumeId: string): Promise<void> {
    await this.volume()?.setVolumes([{ volumeId }]);
    this.begin();
  }

  private begin(): void {
    if (this.closed) return;
    this.ready = true;
    if (this.jump) this.jumpTo(this.jump);
    this.viewport()?.render();
  }

  close(): void {
    this.closed = true;
    removeMouseFrom(this.id);
    this.engine.disableElement(this.id);
  }

  private viewport(): Types.IViewport | undefined {
    return this.closed ? undefined : this.engine.getViewport(this.id);
  }

  private stack(): Types.IStackViewport | undefined {
    return this.kind === "stack" ? (this.viewport() as Types.IStackViewport | undefined) : undefined;
  }

  private volume(): Types.IVolumeViewport | undefined {
    return this.kind === "stack" ? undefined : (this.viewport() as Types.IVolumeViewport | undefined);
  }

  setWindow(window: Window): void {
    if (!this.ready) return;
    const voiRange = { lower: window.center - window.width / 2, upper: window.center + window.width / 2 };
    (this.stack() ?? this.volume())?.setProperties({ voiRange });
    this.viewport()?.render();
  }

  window(): Window | null {
    if (!this.ready) return null;
    const range = (this.stack() ?? this.volume())?.getProperties()?.voiRange;
    return range ? { center: (range.lower + range.upper) / 2, width: range.upper - range.lower } : null;
  }

  scroll(delta: number): void {
    if (this.ready) (this.stack() ?? this.volume())?.scroll(delta);
  }

  reset(): void {
    if (!this.ready) return;
    this.viewport()?.resetCamera();
    this.viewport()?.render();
  }

  resize(): void {
    if (!this.closed) this.engine.resize(true, true);
  }

  /** Show the slice through `point`, and move the view where the point would lie outside it. */
  jumpTo(point: Point3): void {
    this.jump = point;
    const viewport = this.viewport();
    if (!this.ready || !viewport) return;
    const stack = this.stack();
    if (stack) {
      const index = nearestPlane(this.series.planes.filter((plane) => plane !== null), point);
      if (index >= 0 && index !== stack.getCurrentImageIdIndex()) void stack.setImageIdIndex(index).catch(() => undefined);
      else viewport.render();
      return;
    }
    const camera = viewport.getCamera();
    if (!camera.focalPoint || !camera.position || !camera.viewPlaneNormal) return;
    const normal = unit(camera.viewPlaneNormal as Point3);
    const away = subtract(point, camera.focalPoint as Point3);
    const [x = 0, y = 0] = viewport.worldToCanvas(point) ?? [];
    const outside = x < 0 || y < 0 || x > this.element.clientWidth || y > this.element.clientHeight;
    const move = outside ? away : scale(normal, dot(away, normal));
    viewport.setCamera({
      focalPoint: add(camera.focalPoint as Point3, move),
      position: add(camera.position as Point3, move),
    });
    viewport.render();
  }

  toCanvas(point: Point3): [number, number] | null {
    return this.ready ? (this.viewport()?.worldToCanvas(point) ?? null) as [number, number] | null : null;
  }

  toPatient(x: number, y: number): Point3 | null {
    return this.ready ? (this.viewport()?.canvasToWorld([x, y]) ?? null) as Point3 | null : null;
  }

  /** Where the middle of the pane lies in the patient. */
  centre(): Point3 | null {
    return this.toPatient(this.element.clientWidth / 2, this.element.clientHeight / 2);
  }

  /** Unit vector in the patient of a step on the screen (right, down). */
  direction(right: number, down: number): Point3 | null {
    const here = this.centre();
    const there = this.toPatient(this.element.clientWidth / 2 + right * 50, this.element.clientHeight / 2 + down * 50);
    return here && there ? unit(subtract(there, here)) : null;
  }

  /** Normal of the plane shown and a point on it. */
  plane(): { normal: Point3; point: Point3 } | null {
    const camera = this.ready ? this.viewport()?.getCamera() : undefined;
    if (!camera?.viewPlaneNormal || !camera.focalPoint) return null;
    return { normal: unit(camera.viewPlaneNormal as Point3), point: camera.focalPoint as Point3 };
  }

  /** Which slice is shown: number from 1, how many there are, and the image's id in a stack. */
  slice(): { number: number; of: number; imageId: string | null } | null {
    if (!this.ready) return null;
    const stack = this.stack();
    if (stack) {
      return { number: stack.getCurrentImageIdIndex() + 1, of: this.series.imageIds.length, imageId: stack.getCurrentImageId() };
    }
    const volume = this.volume();
    const focal = volume?.getCamera().focalPoint as Point3 | undefined;
    if (!volume || !focal) return null;
    const plane = this.plane();
    const first = this.series.planes[0];
    // Along the images the number is that of the image, as in the stack; the engine counts from the other end.
    if (plane && first && Math.abs(dot(plane.normal, normalOf(first))) > 0.99) {
      const planes = this.series.planes.filter((one) => one !== null);
      return { number: nearestPlane(planes, focal) + 1, of: planes.length, imageId: null };
    }
    return { number: volume.getSliceIndex() + 1, of: volume.getNumberOfSlices(), imageId: null };
  }
}
