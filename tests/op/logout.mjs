// The ends of a browser's session that are Auth0's own: its older logout page, and that it does not ask whether
// one is sure where an ID token shows whose logout it is.

const page = (body) => `<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Logout</title>
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <style></style>
  </head>
  <body>
    <div class="container">
${body}
    </div>
  </body>
</html>`;

// `form` is oidc-provider's, which keeps strangers from sending it; a field of ours says yes.
export async function logoutPage(ctx, form) {
  const sure = form.replace('</form>', '<input type="hidden" name="logout" value="yes"></form>');
  const button = '<button autofocus type="submit" form="op.logoutForm">Yes, log me out</button>';
  const send = '<script>document.forms[0].submit()</script>';
  ctx.body = page(`<h1>Log out?</h1>${sure}${button}${ctx.oidc.entities.IdTokenHint ? send : ''}`);
}

export function addLogout(provider, path) {
  provider.use(async (ctx, next) => {
    if (ctx.path !== path) return next();
    const client = await provider.Client.find(String(ctx.query.client_id ?? ''));
    const returnTo = ctx.query.returnTo ?? client?.postLogoutRedirectUris[0];
    const isAllowed = client && typeof returnTo === 'string' && client.postLogoutRedirectUriAllowed(returnTo);
    if (!isAllowed) {
      ctx.status = 400;
      ctx.type = 'html';
      ctx.body = page('<h1>Oops!</h1><p>The "returnTo" address is not among the Allowed Logout URLs.</p>');
      return undefined;
    }
    await (await provider.Session.get(ctx)).destroy();
    ctx.redirect(returnTo);
    return undefined;
  });
}
