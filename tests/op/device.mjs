// The pace of the device flow: oidc-provider neither names an interval nor ever says `slow_down`.

const TOLERANCE_MS = 50;

export function paceDeviceCodes(provider, { interval, tooFastStatus }) {
  const tokenPath = provider.pathFor('token');
  const polledAt = new Map();

  function isTooFast(code) {
    const now = Date.now();
    const last = polledAt.get(code);
    polledAt.set(code, now);
    return last !== undefined && now - last < interval * 1000 - TOLERANCE_MS;
  }

  provider.use(async (ctx, next) => {
    const code = ctx.path === tokenPath && new URLSearchParams(ctx.req.body).get('device_code');
    if (code && isTooFast(code)) {
      ctx.status = tooFastStatus;
      ctx.body = {
        error: 'slow_down',
        error_description: `You are polling faster than the specified interval of ${interval} seconds.`,
      };
      return;
    }
    await next();
    if (ctx.oidc?.route === 'device_authorization' && ctx.body?.device_code) {
      ctx.body = { ...ctx.body, interval };
    }
  });
}
