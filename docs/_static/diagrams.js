// Draws the diagrams of a page in the colours of its theme, and anew when the reader changes that.
(() => {
    const dark = () => {
        const theme = document.body.dataset.theme;
        return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    };
    const all = [...document.querySelectorAll("pre.mermaid")].map((block) => [block, block.textContent]);
    let drawn;

    const draw = async () => {
        if (dark() === drawn) return;
        drawn = dark();
        mermaid.initialize({
            startOnLoad: false,
            theme: drawn ? "dark" : "neutral",
            fontFamily: getComputedStyle(document.body).fontFamily,
            sequence: { actorMargin: 30, messageFontSize: 13, actorFontSize: 14, messageMargin: 28, mirrorActors: false },
            xyChart: { width: 700, height: 320 },
            themeVariables: { xyChart: { backgroundColor: "transparent", plotColorPalette: "#2f6fde" } },
        });
        for (const [block, source] of all) {
            block.removeAttribute("data-processed");
            block.textContent = source;
        }
        await mermaid.run({ nodes: all.map(([block]) => block) });
    };

    const start = () => {
        draw();
        new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-theme"] });
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    };
    if (document.readyState === "complete") start();
    else addEventListener("load", start);
})();
