// The one place that starts Cornerstone3D: core, mouse tools and the DICOM image loader with its decoding workers.

import { init as startCore, RenderingEngine } from "@cornerstonejs/core";
import { init as startLoader } from "@cornerstonejs/dicom-image-loader";
import * as tools from "@cornerstonejs/tools";

const ENGINE_ID = "readingroom";
const TOOL_GROUP_ID = "readingroom-mouse";
const DECODING_WORKERS = 2;
const FRAME_TIME_LIMIT_MS = 60_000;

let engine: RenderingEngine | null = null;

/** The rendering engine, started on first use. Throws where the browser can draw nothing. */
export function renderingEngine(): RenderingEngine {
  if (engine) return engine;
  startCore();
  tools.init();
  startLoader({
    maxWebWorkers: DECODING_WORKERS,
    // Without a limit one lost answer would leave its image loading for ever.
    beforeSend: (xhr: XMLHttpRequest) => {
      xhr.timeout = FRAME_TIME_LIMIT_MS;
      return {};
    },
  });
  engine = new RenderingEngine(ENGINE_ID);
  addMouse();
  return engine;
}

function addMouse(): void {
  const { WindowLevelTool, PanTool, ZoomTool, StackScrollTool } = tools;
  const { MouseBindings, KeyboardBindings } = tools.Enums;
  for (const tool of [WindowLevelTool, PanTool, ZoomTool, StackScrollTool]) tools.addTool(tool);
  const group = tools.ToolGroupManager.createToolGroup(TOOL_GROUP_ID);
  if (!group) return;
  for (const tool of [WindowLevelTool, PanTool, ZoomTool, StackScrollTool]) group.addTool(tool.toolName);
  group.setToolActive(WindowLevelTool.toolName, { bindings: [{ mouseButton: MouseBindings.Primary }] });
  group.setToolActive(PanTool.toolName, {
    bindings: [
      { mouseButton: MouseBindings.Auxiliary },
      { mouseButton: MouseBindings.Primary, modifierKey: KeyboardBindings.Shift },
    ],
  });
  group.setToolActive(ZoomTool.toolName, { bindings: [{ mouseButton: MouseBindings.Secondary }] });
  group.setToolActive(StackScrollTool.toolName, { bindings: [{ mouseButton: MouseBindings.Wheel }] });
}

export function addMouseTo(viewportId: string): void {
  tools.ToolGroupManager.getToolGroup(TOOL_GROUP_ID)?.addViewport(viewportId, ENGINE_ID);
}

export function removeMouseFrom(viewportId: string): void {
  tools.ToolGroupManager.getToolGroup(TOOL_GROUP_ID)?.removeViewports(ENGINE_ID, viewportId);
}
