// The looks of the pages that oidc-provider brings for development. Its own style sheets fetch a font from the
// web, for which a browser without a network keeps its user waiting; and some pages end in debugging output.

const STYLE = `
  :root { color-scheme: light dark; --ink: #1d2430; --faint: #667085; --paper: #f4f5f7; --card: #fff;
          --line: #d0d5dd; --accent: #3056d3; --wrong: #b42318; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e6e9ef; --faint: #98a2b3; --paper: #12151c; --card: #1b202b; --line: #3a4252;
            --accent: #4c74f0; --wrong: #f97066; }
  }
  * { box-sizing: border-box; }
  body { margin: 0; padding: 12vh 16px 32px; background: var(--paper); color: var(--ink);
         font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
  .container, .login-card { max-width: 380px; margin: 0 auto; padding: 32px; background: var(--card);
         border: 1px solid var(--line); border-radius: 12px; overflow-wrap: anywhere; }
  .container::before, .login-card::before { content: "Test provider on this machine"; display: block;
         color: var(--faint); font-size: 13px; }
  h1 { margin: 4px 0 20px; font-size: 24px; line-height: 1.25; font-weight: 600; }
  ul { margin: 0 0 20px; padding-left: 20px; }
  ul ul { margin: 0; }
  pre { white-space: pre-wrap; }
  p.red { color: var(--wrong); }
  code { display: block; font-size: 28px; letter-spacing: 2px; text-align: center; }
  input[type=text], input[type=password] { display: block; width: 100%; margin: 0 0 12px; padding: 10px 12px;
         font: inherit; color: inherit; background: transparent; border: 1px solid var(--line); border-radius: 8px; }
  [name=user_code] { text-align: center; text-transform: uppercase; letter-spacing: 2px; }
  button[type=submit] { display: block; width: 100%; margin: 0 0 12px; padding: 10px; font: inherit; font-weight: 600;
         color: #fff; background: var(--accent); border: 0; border-radius: 8px; cursor: pointer; }
  :focus-visible { outline: 3px solid color-mix(in srgb, var(--accent) 45%, transparent); outline-offset: 1px; }
  .help, .login-help { text-align: center; font-size: 14px; }
  .help button[type=submit], .login-help a { margin: 0; font-weight: 400; color: var(--faint); background: none; }
  .grant-debug, .login-client-image { display: none; }
`;

export function dressPages(provider) {
  provider.use(async (ctx, next) => {
    await next();
    if (typeof ctx.body !== 'string' || !ctx.response.is('html')) return;
    ctx.body = ctx.body.replace(/<style>[^]*?<\/style>/, () => `<style>${STYLE}</style>`);
  });
}
