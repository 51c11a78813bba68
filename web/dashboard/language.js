// uPlot asks Intl for the browser's language as it loads. WebKit in the locale C names one that is none, and there would be no dashboard.
try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en" });
}
