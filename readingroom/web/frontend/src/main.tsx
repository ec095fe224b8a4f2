import { createRoot } from "react-dom/client";
import { App } from "./App";
import "./styles/pages.css";
import "./styles/runs.css";

// The browser may keep a page it left, images and all, for its Back button: whoever comes back is asked who they are.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
