// The page works without this script. With it, the header says whether the page is live, and a page in a background tab holds
// no connection: a browser opens only six to one address.
(() => {
  const state = document.getElementById("live-state");
  const show = (live, text) => {
    state.dataset.live = live;
    state.lastElementChild.textContent = text;
  };
  let source;
  document.addEventListener("htmx:sseOpen", (event) => {
    source = event.detail.source;
    show("on", "live");
  });
  document.addEventListener("htmx:sseError", () => show("lost", "not live, connecting"));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      show("off", "paused");
    } else if (source?.readyState === EventSource.CLOSED) {
      const stream = document.getElementById("stream");
      const fresh = stream.cloneNode(true);
      stream.replaceWith(fresh);
      htmx.process(fresh);
    }
  });
})();
