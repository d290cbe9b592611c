// A client of auth-agent for Node.js, without dependencies: copy it into your program.
//
//   import { AuthAgent } from "./auth_agent.mjs";
//   const agent = new AuthAgent();
//   const token = await agent.token({ url: "https://api.acme.example/", min_ttl: 60 });
//   await fetch("https://api.acme.example/", { headers: { Authorization: `Bearer ${token.access_token}` } });
//   agent.close();
//
// Parameters, results and errors are those of docs/protocol.md. Node can't ask for the user of the process at the other
// end of a socket; nobody else can make a socket in the directory that is checked here.

import { accessSync, constants, lstatSync } from "node:fs";
import { createConnection } from "node:net";
import { homedir } from "node:os";
import { dirname } from "node:path";

const LONGEST = 20; // seconds: the agent answers after 15, unless the parameter `timeout` says otherwise
const MAX_MESSAGE = 2 ** 20; // bytes

/** The agent's error: `code`, `retryable` and `remedy` are those of the protocol. */
export class AgentError extends Error {
  constructor({ message, ...fields }) {
    super(message);
    Object.assign(this, { retryable: false, remedy: [] }, fields);
  }
}

/** Where the agent listens. */
export function socketPath(env = process.env) {
  if (env.AUTH_AGENT_SOCK) return env.AUTH_AGENT_SOCK;
  if (env.XDG_RUNTIME_DIR) return `${env.XDG_RUNTIME_DIR}/auth-agent/agent.sock`;
  if (process.platform === "darwin") return `${homedir()}/Library/Application Support/auth-agent/agent.sock`;
  const runtime = `/run/user/${process.getuid()}`;
  if (isWritable(runtime)) return `${runtime}/auth-agent/agent.sock`;
  return `${env.XDG_STATE_HOME || `${homedir()}/.local/state`}/auth-agent/agent.sock`;
}

function isWritable(directory) {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

export class AuthAgent {
  #path;
  #socket = null;
  #received = Buffer.alloc(0);
  #waiting = new Map(); // by id: the functions that end the wait for a response
  #lastId = 0;

  constructor(path = socketPath()) {
    this.#path = path;
  }

  token(params = {}) {
    return this.call("token", params);
  }

  /** The token to use instead of one that an API answered with 401: `challenge` is its WWW-Authenticate. */
  rejected(access_token, params = {}) {
    return this.call("rejected", { ...params, access_token });
  }

  /** The result of a method; it may be called again while other calls wait. Rejects with an `AgentError`. */
  async call(method, params = {}) {
    this.#socket ??= this.#connect();
    const id = (this.#lastId = (this.#lastId + 1) % 2 ** 32);
    return await new Promise((resolve, reject) => {
      const error = { code: "timeout", message: `the agent did not respond to ${method}`, retryable: true };
      const late = () => this.#finish(id)?.reject(new AgentError(error));
      this.#waiting.set(id, { resolve, reject, timer: setTimeout(late, 1000 * (params.timeout + 5 || LONGEST)) });
      this.#socket.ref();
      this.#socket.write(encode([0, id, method, [params]]));
    });
  }

  close() {
    this.#end(new AgentError({ code: "connection_lost", message: "the connection was closed", retryable: true }));
  }

  #connect() {
    const directory = dirname(this.#path);
    const found = lstatSync(directory, { throwIfNoEntry: false });
    if (found && (!found.isDirectory() || found.uid !== process.geteuid() || found.mode & 0o077)) {
      throw new AgentError({ code: "untrusted_agent", message: `others may enter ${directory}` });
    }
    const socket = createConnection(this.#path);
    const lost = (reason) => {
      const message = `no agent at ${this.#path}: ${reason}`;
      if (this.#socket === socket) this.#end(new AgentError({ code: "connection_lost", message, retryable: true }));
    };
    socket.on("error", (error) => lost(error.code));
    socket.on("close", () => lost("it hung up"));
    socket.on("data", (data) => this.#receive(data));
    return socket;
  }

  #receive(data) {
    this.#received = Buffer.concat([this.#received, data]);
    try {
      for (let decoded; (decoded = decode(this.#received)); this.#received = this.#received.subarray(decoded.end)) {
        this.#handle(decoded.value);
      }
      if (this.#received.length > MAX_MESSAGE) throw new RangeError("the agent's message is too long");
    } catch (error) {
      this.#end(error);
    }
  }

  #handle([type, ...rest]) {
    if (type === 2) {
      if (rest[0] === "closing") throw new AgentError(rest[1][0]);
      return;
    }
    const [id, error, result] = rest;
    const call = this.#finish(id); // undefined if its time was over
    if (error === null) call?.resolve(result);
    else call?.reject(new AgentError(error));
  }

  /** Take a call out of those that wait. */
  #finish(id) {
    const call = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(call?.timer);
    if (this.#waiting.size === 0) this.#socket?.unref(); // a program that waits for nothing else may end
    return call;
  }

  /** Close the connection; the next call opens another one. */
  #end(error) {
    this.#socket?.destroy();
    this.#socket = null;
    this.#received = Buffer.alloc(0);
    for (const id of [...this.#waiting.keys()]) this.#finish(id).reject(error);
  }
}

// ---- MessagePack, as far as the protocol needs it

/** The bytes of a value; undefined members of an object are left out. */
export function encode(value) {
  if (value === null) return Buffer.from([0xc0]);
  if (typeof value === "boolean") return Buffer.from([value ? 0xc3 : 0xc2]);
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 32) return head(value, 0x00, 128, 0xcc, 0xcd, 0xce);
  if (typeof value === "number") {
    const bytes = Buffer.alloc(9, 0xcb);
    bytes.writeDoubleBE(value, 1);
    return bytes;
  }
  if (typeof value === "string") {
    const text = Buffer.from(value);
    return Buffer.concat([head(text.length, 0xa0, 32, 0xd9, 0xda, 0xdb), text]);
  }
  if (Array.isArray(value)) return Buffer.concat([head(value.length, 0x90, 16, 0, 0xdc, 0xdd), ...value.map(encode)]);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Buffer.concat([head(members.length, 0x80, 16, 0, 0xde, 0xdf), ...members.flat().map(encode)]);
}

/** A number or a length: in the first byte if it is less than `small`, else in 1, 2 or 4 bytes that follow. */
function head(number, first, small, code8, code16, code32) {
  if (number < small) return Buffer.from([first | number]);
  if (code8 && number < 2 ** 8) return Buffer.from([code8, number]);
  const bytes = Buffer.alloc(number < 2 ** 16 ? 3 : 5, number < 2 ** 16 ? code16 : code32);
  bytes.writeUIntBE(number, 1, bytes.length - 1);
  return bytes;
}

/** The value at the beginning, and where it ends; null if it is not complete. */
export function decode(bytes) {
  let end = 0;
  const take = (length) => {
    if (end + length > bytes.length) throw INCOMPLETE;
    return bytes.subarray(end, (end += length));
  };
  const uint = (length) => take(length).readUIntBE(0, length);
  const text = (length) => take(length).toString();
  const list = (length) => Array.from({ length }, () => read());
  const map = (length) => Object.fromEntries(Array.from({ length }, () => [read(), read()]));
  const read = () => {
    const type = uint(1);
    if (type < 0x80) return type;
    if (type < 0x90) return map(type & 0x0f);
    if (type < 0xa0) return list(type & 0x0f);
    if (type < 0xc0) return text(type & 0x1f);
    if (type >= 0xe0) return type - 0x100;
    switch (type) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xca: return take(4).readFloatBE();
      case 0xcb: return take(8).readDoubleBE();
      case 0xcc: return uint(1);
      case 0xcd: return uint(2);
      case 0xce: return uint(4);
      case 0xcf: return Number(take(8).readBigUInt64BE());
      case 0xd0: return take(1).readInt8();
      case 0xd1: return take(2).readInt16BE();
      case 0xd2: return take(4).readInt32BE();
      case 0xd3: return Number(take(8).readBigInt64BE());
      case 0xd9: return text(uint(1));
      case 0xda: return text(uint(2));
      case 0xdb: return text(uint(4));
      case 0xdc: return list(uint(2));
      case 0xdd: return list(uint(4));
      case 0xde: return map(uint(2));
      case 0xdf: return map(uint(4));
    }
    throw new RangeError(`the agent sent a value of the type ${type}`);
  };
  try {
    const value = read();
    return { value, end };
  } catch (error) {
    if (error === INCOMPLETE) return null;
    throw error;
  }
}

const INCOMPLETE = {};
