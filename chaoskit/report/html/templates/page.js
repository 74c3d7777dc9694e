"use strict";
(() => {
  const root = document.documentElement;
  const form = document.querySelector(".filter form");
  const cards = [...document.querySelectorAll("article.card")];
  const rows = new Map([...document.querySelectorAll("tr[data-for]")].map((row) => [row.dataset.for, row]));
  const texts = new Map(cards.map((card) => [card, `${card.dataset.search} ${card.textContent}`.toLowerCase()]));
  const body = (card) => card.querySelector("details");
  document.querySelectorAll(".scripted").forEach((element) => { element.hidden = false; });

  // Allure's pages work only when they are served: from a file there is the command, and no dead link.
  if (location.protocol.startsWith("http")) {
    document.querySelectorAll(".served").forEach((element) => { element.hidden = false; });
    document.querySelectorAll(".unserved").forEach((element) => { element.hidden = true; });
  }

  // What held is folded; what failed stays open. Without this script everything is open.
  const failed = (card) => !["held", "caught", "skipped"].includes(card.dataset.outcome);
  cards.forEach((card) => { body(card).open = failed(card); });
  document.querySelectorAll("details.inner").forEach((details) => { details.open = "keep" in details.dataset; });

  // Filter and search
  function apply() {
    const data = new FormData(form);
    const outcomes = new Set(data.getAll("outcome"));
    const words = data.get("search").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    cards.forEach((card) => {
      const has = (name) => !data.get(name) || card.dataset[name].split("\n").includes(data.get(name));
      const visible = outcomes.has(card.dataset.outcome) && ["severity", "owner", "tag"].every(has)
        && words.every((word) => texts.get(card).includes(word));
      card.hidden = !visible;
      rows.get(card.id).hidden = !visible;
      shown += visible;
    });
    document.getElementById("_none").hidden = shown > 0;
    document.getElementById("_shown").textContent = `${shown} of ${cards.length} shown`;
  }
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
  document.getElementById("_open").addEventListener("click", () => cards.forEach((card) => { body(card).open = true; }));
  document.getElementById("_close").addEventListener("click", () => cards.forEach((card) => { body(card).open = false; }));

  // A link to a scenario opens it, also when the filter had hidden it.
  function follow() {
    const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!card || !card.matches("article.card")) return;
    if (card.hidden) { form.reset(); apply(); }
    body(card).open = true;
    card.scrollIntoView();
    card.querySelector("summary").focus({ preventScroll: true });
  }
  addEventListener("hashchange", follow);
  follow();
  addEventListener("load", () => setTimeout(follow)); // the browser's own jump takes the focus away

  // Light and dark: the system's choice until one is made here
  const button = document.getElementById("_theme");
  const remembered = { get: () => { try { return localStorage.getItem("chaoskit-theme"); } catch { return null; } },
    set: (theme) => { try { localStorage.setItem("chaoskit-theme", theme); } catch { /* a private window */ } } };
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  function theme(name) {
    if (name) root.dataset.theme = name;
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`);
  }
  theme(remembered.get());
  button.addEventListener("click", () => { theme(dark() ? "light" : "dark"); remembered.set(root.dataset.theme); });

  // Copy
  document.querySelectorAll("button.copy").forEach((copy) => copy.addEventListener("click", async () => {
    const code = copy.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  }));

  // Keys
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const heads = cards.filter((card) => !card.hidden).map((card) => card.querySelector("summary"));
    const here = heads.findIndex((head) => head.parentElement.contains(document.activeElement));
    const target = event.key === "j" ? heads[here + 1] : event.key === "k" ? heads[Math.max(here - 1, 0)]
      : event.key === "/" ? form.elements.search : null;
    if (!target) return;
    event.preventDefault();
    target.focus();
    target.scrollIntoView({ block: "nearest" });
  });

  // On paper everything is open.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
})();
