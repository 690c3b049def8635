// Parses each diagram of the built site: node parse_diagrams.js SITE. In the reader's browser a wrong one is an error message.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const site = process.argv[2];
const folder = path.join(site, "_static");
const script = fs.readdirSync(folder).find((name) => /^mermaid-.*\.min\.js$/.test(name));
if (!script) {
    console.log("Without Mermaid, diagrams aren't checked.");
    process.exit(0);
}

const nothing = () => {};
// As much of a browser as Mermaid asks for before it draws.
const page = vm.createContext({ console, setTimeout, clearTimeout, URL, structuredClone, addEventListener: nothing, Element: class {} });
page.document = { nodeType: 9, implementation: {}, createElement: () => ({}), querySelector: () => null };
page.window = page;
vm.runInContext(fs.readFileSync(path.join(folder, script), "utf8"), page, script);

const plain = (html) => html.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, '"').replace(/&#x27;/g, "'").replace(/&amp;/g, "&");

const main = async () => {
    let failed = 0;
    let parsed = 0;
    for (const name of fs.readdirSync(site, { recursive: true }).filter((each) => each.endsWith(".html"))) {
        const html = fs.readFileSync(path.join(site, name), "utf8");
        for (const [, source] of html.matchAll(/<pre class="mermaid">([^]*?)<\/pre>/g)) {
            parsed += 1;
            await page.mermaid.parse(plain(source)).catch((error) => {
                failed += 1;
                console.log(`${name}: ${error.message}`);
            });
        }
    }
    if (!parsed) console.log("No diagram was found.");
    process.exit(failed || !parsed ? 1 : 0);
};
main();
