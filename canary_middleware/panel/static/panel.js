// Keeps a page live: replaces the parts that the server says have changed. Without it all reads and works.
"use strict";

(() => {
  const page = document.body.dataset.live;
  const stale = document.getElementById("stale");
  const announce = document.getElementById("announce");
  const SILENT = 12000; // after so many ms without a word the page says that it is old
  const LONGEST = 30000;
  let wait = 1000;
  let heard = Date.now(); // the panel
  let seen = heard; // the store
  let told = "";
  let source = null;
  let later = 0;

  // A second click must not do a thing twice; but who waits in vain may try again.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    busy(form, true);
    setTimeout(() => busy(form, false), 3000);
  });
  function busy(form, on) {
    if (on) form.dataset.sent = "yes";
    else delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) button.toggleAttribute("data-busy", on);
  }

  // What was done is said once: not again when the page is loaded anew.
  const asked = new URL(location.href);
  if (asked.searchParams.has("did")) {
    asked.searchParams.delete("did");
    asked.searchParams.delete("revision");
    history.replaceState(null, "", asked);
  }

  if (!page) return;
  const live = document.getElementById("live");
  const say = (words) => { live.textContent = words; };
  const clock = (at) => new Date(at).toISOString().slice(11, 19);

  function warn(words) {
    if (words === told) return;
    told = words;
    stale.textContent = words;
    stale.hidden = !words;
  }

  // What a person has done to a part outlives its replacement: focus, open details, scrolling.
  function replace(part, html) {
    const open = [...part.querySelectorAll("details[open][id]")].map((one) => one.id);
    const typed = [...part.querySelectorAll("input[id], select[id]")].map((one) => [one.id, one.value]);
    const scrolled = [...part.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    const focus = part.contains(document.activeElement) ? mark(document.activeElement, part) : null;
    part.innerHTML = html;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, value] of typed) {
      const input = document.getElementById(id);
      if (input) input.value = value;
    }
    part.querySelectorAll(".scroll").forEach((one, at) => { one.scrollLeft = scrolled[at] || 0; });
    if (focus) found(focus, part)?.focus({ preventScroll: true });
  }

  const FOCUSABLE = "a[href], button, input, select, summary, [tabindex]";
  function mark(element, part) {
    return { id: element.id, href: element.getAttribute("href"),
             at: [...part.querySelectorAll(FOCUSABLE)].indexOf(element) };
  }
  function found(focus, part) {
    if (focus.id) return document.getElementById(focus.id);
    const all = [...part.querySelectorAll(FOCUSABLE)];
    return all.find((one) => focus.href && one.getAttribute("href") === focus.href) || all[focus.at];
  }

  function show(message) {
    heard = Date.now();
    wait = 1000;
    if (message.trouble) {
      warn(`${message.trouble}. What you see was so at ${clock(seen)} UTC.`);
      return;
    }
    seen = heard;
    warn("");
    say(`Live, seen at ${clock(seen)} UTC.`);
    for (const [name, html] of Object.entries(message.parts || {})) {
      const part = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
      if (part) replace(part, html);
    }
    if (message.say) announce.textContent = message.say;
  }

  // Where there is no stream, the page itself is asked for again and again.
  async function reload() {
    const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
      location.reload(); // whoever is no longer signed in is asked to
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const text = new DOMParser().parseFromString(await answer.text(), "text/html");
    const parts = {};
    for (const part of text.querySelectorAll("[data-part]")) parts[part.dataset.part] = part.innerHTML;
    show({ parts });
    say(`Asked for again every few seconds, seen at ${clock(seen)} UTC.`);
  }

  function listen() {
    leave();
    const mine = source = new EventSource(page);
    mine.onmessage = (event) => show(JSON.parse(event.data));
    mine.onerror = () => {
      if (mine !== source || mine.readyState !== EventSource.CLOSED) return;
      reload().catch(() => {});
      later = setTimeout(listen, wait);
      wait = Math.min(2 * wait, LONGEST);
    };
  }

  function leave() {
    clearTimeout(later);
    if (source) source.close();
    source = null;
  }

  // A browser has six connections for all of its tabs: who is not looked at needs none.
  function follow() {
    heard = Date.now();
    if (document.visibilityState === "visible") listen();
    else leave();
  }
  document.addEventListener("visibilitychange", follow);
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => { if (event.persisted) follow(); });

  setInterval(() => {
    if (source && !told && Date.now() - heard > SILENT) {
      warn(`The panel does not answer. What you see was so at ${clock(seen)} UTC.`);
    }
  }, 1000);
  follow();
})();
