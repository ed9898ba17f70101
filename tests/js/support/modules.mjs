// Lets node load the browser's modules by the names that the page's import map gives them.
import { register } from "node:module";

register("./hooks.mjs", import.meta.url);
