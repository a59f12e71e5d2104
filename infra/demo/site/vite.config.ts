import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // Relative addresses: the page works at the root of a host and below a path.
  base: "./",
  // No inlining: every asset is a file with its digest in the name, to be cached for ever.
  build: { assetsInlineLimit: 0 },
  plugins: [react()],
});
