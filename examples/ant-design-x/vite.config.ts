import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// A cache of its own: the pages run side by side.
export default defineConfig({ cacheDir: "../node_modules/.vite-ant-design-x", plugins: [react()] });
