// Runs before the page is drawn, so that it does not flash in the other colours.
(() => {
    const saved = localStorage.getItem("theme");
    if (saved === "light" || saved === "dark") document.documentElement.dataset.theme = saved;
})();
