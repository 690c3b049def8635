// Asks the site's search what newcomers ask: node ask_search.js SITE. Fails where the page that answers isn't among the first three.
// The functions are those that the reader's browser runs; of the page around them they need next to nothing.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const SHOWN = 3;
const QUESTIONS = [
    ["Where is the ttl jittered?", ["reference/options/cache_jitter"]],
    ["What stops a stampede?", ["sites"]],
    ["Where does a consumer hit complete a chord?", ["life-of-a-call"]],
    ["What patches Celery?", ["patches"]],
    ["Who takes over from a killed worker?", ["life-of-a-call", "sites"]],
    ["Where is the staleness bound enforced?", ["explanation/staleness"]],
    ["What is evicted from memory, and when?", ["how-to/sizing"]],
    ["Which header carries the context?", ["reference/per-call", "how-to/multi-tenant"]],
    ["memoize", ["index"]],
    ["dedupe", ["index", "sites"]],
    ["thundering herd", ["sites", "index"]],
    ["cache stampede", ["sites", "index"]],
    ["celery-once", ["coming-from/celery-once"]],
    ["invalidate by tag", ["tutorial/index", "how-to/invalidate", "reference/options/cache_tags"]],
];

const site = process.argv[2];
const nothing = () => {};
const element = { lastChild: null, removeChild: nothing };
const page = vm.createContext({
    console,
    document: { getElementById: () => element, addEventListener: nothing, readyState: "loading" },
    localStorage: { setItem: nothing },
    SPHINX_HIGHLIGHT_ENABLED: false,
    _ready: nothing,
});
page.window = page;
for (const name of ["_static/base-stemmer.js", "_static/english-stemmer.js", "_static/language_data.js", "_static/searchtools.js", "searchindex.js"]) {
    const file = path.join(site, name);
    if (fs.existsSync(file)) vm.runInContext(fs.readFileSync(file, "utf8"), page, name);
}
page.ask = null;
vm.runInContext("ask = (query) => Search._performSearch(...Search._parseQuery(query))", page);

let failed = 0;
for (const [question, wanted] of QUESTIONS) {
    const found = page.ask(question.replace(/[?,]/g, "")).reverse();
    const pages = [...new Set(found.map(([name]) => name))];
    const place = pages.findIndex((name) => wanted.includes(name)) + 1;
    const right = place > 0 && place <= SHOWN;
    if (!right) failed += 1;
    if (!right || process.env.VERBOSE) {
        console.log(`${right ? "ok" : "WRONG"}  ${question}  wanted ${wanted.join(" or ")}: ${place || "not found"}; first are ${pages.slice(0, 5).join(", ")}`);
    }
}
process.exit(failed ? 1 : 0);
