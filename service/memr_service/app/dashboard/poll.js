/** Repeated updates of a view. */

/** Call `work` now and then every `seconds`, except while the tab is hidden, until the signal aborts.
 *  An error of the first call is thrown. A later error is shown, and `work` is called again. */
export async function poll(seconds, signal, work) {
  await work();
  const status = document.getElementById("status");
  const again = async () => {
    if (signal.aborted) return;
    if (!document.hidden) {
      try {
        await work();
        status.textContent = "";
      } catch (error) {
        if (signal.aborted) return;
        status.textContent = `Update failed: ${error.message}`;
      }
    }
    setTimeout(again, 1000 * seconds);
  };
  setTimeout(again, 1000 * seconds);
}
