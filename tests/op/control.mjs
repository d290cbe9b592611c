// The door for tests: POST orders, clears and resets; GET tells what has happened.
import { setImmediate as nextTurn } from 'node:timers/promises';

import { readJson } from './form.mjs';
import { sendJson } from './reply.mjs';

export const CONTROL_PATH = '/__control';

function obey(order, { faults, ledger }) {
  if (order.fault) faults.order(order.fault);
  else if (order.clear) faults.clear();
  else if (order.reset) {
    faults.forget();
    ledger.reset();
  } else throw new Error('an order has `fault`, `clear` or `reset`');
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
  // A client may have its reply, and ask here, an instant before that reply counts as sent.
  await nextTurn();
  const { faults, ledger } = state;
  return sendJson(res, 200, { ...ledger.snapshot(), faults: faults.list(), happened: faults.happened() });
}
