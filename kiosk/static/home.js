import { onLanguage } from "./common.js";

onLanguage(() => {});
