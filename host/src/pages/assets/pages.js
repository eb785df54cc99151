// What pages do with script: times in the reader's zone, and the choice between light and dark.
// Everything else works without it.
"use strict";

(() => {
  const two = (number) => String(number).padStart(2, "0");

  const local = (date) =>
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  function showTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const date = new Date(element.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      const text = local(date);
      if (element.textContent === text) continue;
      element.title = `${element.dateTime} (shown in ${zone})`;
      element.textContent = text;
    }
  }

  // A stream brings times in UTC: they are changed before the browser paints them.
  const options = { childList: true, characterData: true, subtree: true };
  const observer = new MutationObserver(() => {
    observer.disconnect();
    showTimes(document);
    observer.observe(document.body, options);
  });

  function chooseTheme() {
    const select = document.getElementById("theme");
    if (!select) return;
    const root = document.documentElement;
    select.value = root.dataset.theme;
    select.closest("label").hidden = false;
    select.addEventListener("change", () => {
      root.dataset.theme = select.value;
      const age = select.value === "auto" ? 0 : 31536000;
      document.cookie = `theme=${select.value}; path=/; max-age=${age}; samesite=strict`;
    });
  }

  showTimes(document);
  observer.observe(document.body, options);
  chooseTheme();
})();
