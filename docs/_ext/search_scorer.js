// What the site's search puts first: pages for users before those for people who change the library.
// Pages of single events, commands and the like have few words, all of which count as much as a title.
var Scorer = {
    score: ([name, , , , score]) => (/^(decisions|conformance|promises|benchmarks|versions|reference\/(commands|events|metrics)\/.*)$/.test(name) ? score / 2 : score),
    objNameMatch: 11,
    objPartialMatch: 6,
    objPrio: { 0: 15, 1: 5, 2: -5 },
    objPrioDefault: 0,
    title: 15,
    partialTitle: 7,
    term: 5,
    partialTerm: 2,
};
