/** Work that is done again and again while somebody looks. */

/** Call `work` now and then every so many seconds, not while the tab is hidden, until the signal says stop.
 *  What goes wrong the first time is thrown; later it is shown, and tried again. */
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
        status.textContent = `No news: ${error.message}`;
      }
    }
    setTimeout(again, 1000 * seconds);
  };
  setTimeout(again, 1000 * seconds);
}
