// The door for tests: POST orders, releases, clears, resets and sets the clock; GET tells what has happened.
import { setImmediate as nextTurn } from 'node:timers/promises';

import { setClock } from './clock.mjs';
import { readJson } from './form.mjs';
import { sendJson } from './reply.mjs';

export const CONTROL_PATH = '/__control';

function obey(order, { faults, ledger, people, limits }) {
  if (order.fault) faults.order(order.fault);
  else if (order.release) faults.release();
  else if (order.clear) faults.clear();
  else if (order.reset) {
    faults.forget();
    ledger.reset();
    people.reset();
    for (const limit of limits) limit.reset();
  } else if (order.change_user) {
    const { id, ...changes } = order.change_user;
    people.find(id)?.change(changes);
  } else if (order.remove_user) people.remove(order.remove_user);
  else if ('clock' in order) setClock(order.clock);
  else throw new Error('an order has `fault`, `release`, `clear`, `reset`, `change_user`, `remove_user` or `clock`');
}

export async function answerControl(req, res, state) {
  if (req.method === 'POST') {
    try {
      obey(await readJson(req), state);
    } catch (error) {
      return sendJson(res, 400, { error: error.message });
    }
    return sendJson(res, 200, {});
  }
  if (req.url === `${CONTROL_PATH}?secrets`) return sendJson(res, 200, state.secrets.snapshot());
  const id = new URLSearchParams(req.url.split('?', 2)[1]).get('user');
  if (id !== null) {
    const person = state.people.find(id);
    return sendJson(res, 200, { user: person?.user() ?? null, claims: person?.claims() ?? null });
  }
  // A client may have its reply, and ask here, an instant before that reply counts as sent.
  await nextTurn();
  const { faults, ledger } = state;
  return sendJson(res, 200, { ...ledger.snapshot(), faults: faults.list(), happened: faults.happened() });
}
