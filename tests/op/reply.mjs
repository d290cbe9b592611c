// Koa sends a reply with one call of `res.end(body)`, before which no header has left. That is the place to
// look at it, to change it, or to keep it from being sent.

// Calls `handle(body)` in place of the next `res.end(body)`; `handle` may call `res.end` itself.
export function onReply(res, handle) {
  const { end } = res;
  res.end = (body) => {
    res.end = end;
    handle(Buffer.from(body ?? ''));
    return res;
  };
}

export function sendJson(res, status, value, headers = {}) {
  res.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
  res.end(JSON.stringify(value));
}
