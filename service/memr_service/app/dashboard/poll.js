/** Repeated updates of a view. */

const PATIENCE = 5; // an answer that takes two seconds is asked for every ten

/** Call `work` now and then every `seconds`, except while the tab is hidden, until the signal aborts; and at once when
 *  the server answers again. An error of the first call is thrown. A later error is shown, and `work` is called again. */
export async function poll(seconds, signal, work) {
  await work();
  const status = document.getElementById("status");
  let timer = null;
  let calls = 0;
  const again = async () => {
    clearTimeout(timer);
    if (signal.aborted) return;
    const mine = ++calls;
    const begun = performance.now();
    if (!document.hidden) {
      try {
        await work();
        status.textContent = "";
      } catch (error) {
        if (signal.aborted) return;
        status.textContent = error.told ? "" : `Update failed: ${error.message}`;
      }
    }
    // A later call goes on, if there is one. What takes long is asked for less often.
    if (mine === calls) timer = setTimeout(again, Math.max(1000 * seconds, PATIENCE * (performance.now() - begun)));
  };
  document.addEventListener("again", again, { signal });
  timer = setTimeout(again, 1000 * seconds);
}
