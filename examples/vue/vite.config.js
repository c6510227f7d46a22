import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

// A cache of its own: the pages run side by side.
export default defineConfig({ cacheDir: "../node_modules/.vite-vue", plugins: [vue()] });
