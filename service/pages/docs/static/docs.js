"use strict";
const reference = document.getElementById("reference");

Scalar.createApiReference("#reference", {
  url: reference.dataset.contract,
  // Where this page is, a proxy may have put it under any path.
  servers: [{ url: new URL(".", location.href).href.replace(/\/$/, "") }],
  localization: { locale: document.documentElement.lang },
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  documentDownloadType: "none",
  // What Scalar would ask of its maker's servers.
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
});
