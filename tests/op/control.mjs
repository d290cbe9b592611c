// The door for tests: POST orders, clears and resets; GET tells what has happened.
import { setImmediate as nextTurn } from 'node:timers/promises';

import { readJson } from './form.mjs';
import { sendJson } from './reply.mjs';

export const CONTROL_PATH = '/__control';

function obey(order, { faults, ledger, people, limits }) {
  if (order.fault) faults.order(order.fault);
  else if (order.clear) faults.clear();
  else if (order.reset) {
    faults.clear();
    ledger.reset();
    people.reset();
    for (const limit of limits) limit.reset();
  } else if (order.change_user) {
    const { id, ...changes } = order.change_user;
    people.find(id)?.change(changes);
  } else if (order.remove_user) people.remove(order.remove_user);
  else throw new Error('an order has `fault`, `clear`, `reset`, `change_user` or `remove_user`');
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
  const id = new URLSearchParams(req.url.split('?', 2)[1]).get('user');
  if (id !== null) {
    const person = state.people.find(id);
    return sendJson(res, 200, { user: person?.user() ?? null, claims: person?.claims() ?? null });
  }
  // A client may have its reply, and ask here, an instant before that reply counts as sent.
  await nextTurn();
  return sendJson(res, 200, { ...state.ledger.snapshot(), faults: state.faults.list() });
}
