// Asks the questions of standard input with the readers that run in Node.js, and prints what came of each.
import { text } from "node:stream/consumers";
import { askAll, readers, reconnecting } from "./readers.mjs";

console.log(JSON.stringify(await askAll(JSON.parse(await text(process.stdin)), { readers, reconnecting })));
process.exit();
