// A request whose upload reports its progress, which fetch does not.

/**
 * @param {(sent: number, total: number) => void} onUpload  bytes
 * @returns {(url: URL, init: any) => Promise<Response>}  in the place of `fetch`
 */
export const sendWithProgress = (onUpload) => (url, { method, headers, body, signal }) =>
  new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open(method, url);
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    const abort = () => xhr.abort();
    signal.addEventListener("abort", abort, { once: true });
    xhr.upload.onprogress = (event) => onUpload(event.loaded, event.total);
    xhr.onloadend = () => signal.removeEventListener("abort", abort);
    xhr.onabort = () => reject(signal.reason);
    xhr.onerror = () => reject(new TypeError("The upload failed"));
    xhr.onload = () => resolve(new Response(xhr.responseText, {
      status: xhr.status,
      headers: xhr.getAllResponseHeaders().trim().split("\r\n").map((line) => line.split(": ", 2)),
    }));
    xhr.send(body);
  });
