import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// `events` is aliased because Vite replaces Node's module of that name by an empty one in the browser, and vtk.js and
// the image loader then fail when they first use it. Nothing is inlined: a strict CSP allows no data: scripts.
export default defineConfig({
  base: "/",
  plugins: [react()],
  resolve: { alias: { events: "events/events.js" } },
  worker: { format: "es" },
  build: {
    outDir: "../static/app",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 4000,
  },
});
