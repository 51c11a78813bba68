// The page in a real Chromium.
import { pageWorksIn } from "./page.js";

pageWorksIn("chromium");
